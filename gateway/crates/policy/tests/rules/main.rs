//! What records mean and who may ask, tried from outside the crate.
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod common;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod fates;
#[cfg(test)]
mod fates_of_uses;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod verdicts;
#[cfg(test)]
mod writers;
