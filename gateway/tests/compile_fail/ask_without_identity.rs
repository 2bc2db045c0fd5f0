//! Stage 3 before stage 2: a request of nobody.
use xinguan::{app::App, stages::*};

fn skip(app: &App, accepted: Accepted, query: authorize::Query) {
    let _ = limit_stage::operator(app, accepted, &query);
}

fn main() {}
