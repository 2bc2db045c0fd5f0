//! `xinguan check-config FILE`
