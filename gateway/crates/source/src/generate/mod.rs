//! Fictional enterprises for the demo and the tests: same seed, same data. Never in a release build.
//!
//! Codes are valid by GB 32100 and GB 11714, but their organization part begins with `XG`, which is not
//! assigned, so that no real enterprise is meant. Names are put together by chance.
//!
//! Each enterprise has a home region, which its code shows. A database holds the enterprises of its own region
//! and, of other regions, the first few: those are found at two sources. What the register says of them agrees
//! everywhere; loans, cases and bills are each bureau's own; the number of employees differs by a few, so that
//! a report shows a conflict.

mod names;
mod random;
mod tables;

use crate::SourceError;
use gw_proto::{Region, Uscc};
use std::path::Path;

pub use names::{Enterprise, enterprise_list};

/// The mapping that fits a generated database.
pub const EXAMPLE_MAPPING: &str = include_str!("../../examples/bureau.toml");

/// What a database holds.
#[derive(Debug, Clone)]
pub struct DatabaseSpec {
    /// same seed, same data
    pub seed: u64,
    /// the bureau's own region
    pub region: Region,
    /// enterprises in it, those of other regions included
    pub enterprises: usize,
    /// other regions, some of whose enterprises it holds too
    pub guests_of: Vec<Region>,
    /// how many of each
    pub guests: usize,
}

impl DatabaseSpec {
    /// The enterprises that a database of this description holds: its own, then guests.
    pub fn enterprises(&self) -> Vec<Enterprise> {
        let guests: Vec<_> =
            self.guests_of.iter().flat_map(|&r| enterprise_list(self.seed, r, self.guests)).collect();
        let own = self.enterprises.saturating_sub(guests.len());
        let mut all = enterprise_list(self.seed, self.region, own);
        all.extend(guests);
        all
    }
}

/// The enterprises that databases of two regions both hold, when each has the other's first `guests`.
pub fn shared_enterprises(seed: u64, a: Region, b: Region, guests: usize) -> Vec<Enterprise> {
    let mut all = enterprise_list(seed, a, guests);
    all.extend(enterprise_list(seed, b, guests));
    all
}

/// Makes a new database file in one transaction; some 10,000 enterprises a second or two.
pub fn generate_database(path: &Path, spec: &DatabaseSpec) -> Result<(), SourceError> {
    // a file that is there may be a real one
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|source| SourceError::File { path: path.to_owned(), source })?;
    tables::write(path, spec).map_err(|source| SourceError::Query { query: "generate".to_owned(), source })
}

/// The code of the `index`-th enterprise of a region.
pub fn uscc_of(seed: u64, region: Region, index: usize) -> Option<Uscc> {
    names::uscc_of(seed, region, u64::try_from(index).ok()?)
}

#[cfg(test)]
mod tests;
