//! xinguan
