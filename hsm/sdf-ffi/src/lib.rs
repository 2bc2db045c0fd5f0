//! The C interface of SDF (GM/T 0018), loaded at run time.
//!
//! This crate is the only place that calls an SDF library: safe functions around a dozen C calls, nothing
//! else. What the bytes mean, pools and policies are `hsm-sdf`'s.
//!
//! | module | what |
//! |---|---|
//! | [`library`] | loads a library, opens devices and sessions, makes the calls |
//! | [`layout`] | the two layouts of keys and signatures that libraries use, and how to tell them apart |
//! | [`code`] | return codes |
//!
//! Symbols are looked up when they are first needed: libraries of older devices lack some, and what is not
//! called need not be there.
//!
//! What a library may do that no caller can prevent: write more than the standard's structures hold. Each
//! structure it writes is given [`layout::ROOM`] bytes, four times the largest that is known.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod code;
pub mod layout;
pub mod library;

pub use code::Code;
pub use layout::Layout;
pub use library::{Device, DeviceInfo, SdfLibrary, Session};

use std::path::PathBuf;

/// Why a call was not made or failed.
#[derive(Debug, thiserror::Error)]
pub enum FfiError {
    /// The library is not there or cannot be loaded.
    #[error("cannot load the SDF library `{path}`; install the vendor's library or correct the path")]
    Load {
        /// which
        path: PathBuf,
        /// what the loader says
        source: libloading::Error,
    },
    /// The library lacks a function.
    #[error("`{path}` has no function {symbol}; it is no SDF library (GM/T 0018), or too old a one")]
    Symbol {
        /// which
        path: PathBuf,
        /// the function
        symbol: &'static str,
    },
    /// A call failed.
    #[error("{call}: {code}")]
    Call {
        /// the function
        call: &'static str,
        /// what it returned
        code: Code,
    },
    /// It returned success and no handle.
    #[error("{call} returned success and no handle; the library is broken")]
    NoHandle {
        /// the function
        call: &'static str,
    },
    /// What it wrote fits neither layout, or not the one that is set.
    #[error(
        "{call} wrote what is no {what} in the {layout} layout; set the layout as the vendor's header has it"
    )]
    Shape {
        /// the function
        call: &'static str,
        /// key or signature
        what: &'static str,
        /// the layout that was assumed
        layout: Layout,
    },
    /// It cannot be told which layout the library has.
    #[error(
        "the library's key structure fits neither known layout ({seen}); ask its vendor for the header file"
    )]
    Undetected {
        /// what was seen
        seen: String,
    },
}
