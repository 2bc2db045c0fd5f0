//! `xinguan doctor`
