//! Stage 3 before the ledger's verdict on the asking gateway was looked at.
use xinguan::{app::App, stages::*};

fn skip(app: &App, who: identify::IdentifiedNode) {
    let _ = limit_stage::institution(app, who);
}

fn main() {}
