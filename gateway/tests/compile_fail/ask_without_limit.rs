//! Stage 4 before stage 3: an operator that no limit has counted.
use xinguan::{app::App, stages::*};

fn skip(app: &App, who: identify::IdentifiedOperator, query: authorize::Query) {
    let _ = authorize::at_asker(app, who, query);
}

fn main() {}
