//! Stage 7 before stage 6: sources asked without a use on the chain.
use xinguan::{app::App, stages::*};

async fn skip(app: &App, permitted: authorize::PermittedQuery) {
    let _ = broker::ask_sources(app, permitted).await;
}

async fn skip_from_intent(app: &App, recorded: record::RecordedQuery) {
    let _ = broker::ask_sources(app, recorded).await;
}

fn main() {}
