//! Stage 10 before stage 9: a report that leaves untraced.
use xinguan::{app::App, stages::*};

async fn skip(app: &App, merged: merge::Merged) {
    let _ = answer::to_operator(app, merged).await;
}

fn main() {}
