//! Stage 6 before stage 5: a use spent that no journal knows of.
use xinguan::{app::App, stages::*};

async fn skip(app: &App, permitted: authorize::PermittedQuery) {
    let _ = reserve::one_use(app, permitted).await;
}

fn main() {}
