//! A source decides on a request that it has not verified, or whose height it has not reached.
use xinguan::{app::App, stages::*};

fn unverified(app: &App, admitted: limit_stage::AdmittedNode) {
    let _ = authorize::at_source(app, admitted);
}

fn behind(app: &App, admitted: limit_stage::AdmittedRequest) {
    let _ = authorize::at_source(app, admitted);
}

fn main() {}
