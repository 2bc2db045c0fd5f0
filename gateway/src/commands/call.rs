//! `xinguan call URL`: one request to a gateway's API over mutual TLS, either profile.

use super::{
    Exit,
    client::{self, ClientArgs},
};
use anyhow::{Context as _, Result};
use clap::Args;
use std::{io::Write, path::PathBuf};

/// One request.
#[derive(Debug, Args)]
pub struct CallArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// GET, POST …; POST if there is a body, else GET
    #[arg(short = 'X', long)]
    method: Option<String>,
    /// more header fields, `Name: value`
    #[arg(short = 'H', long = "header")]
    headers: Vec<String>,
    /// body: @FILE, or the text itself
    #[arg(short, long)]
    data: Option<String>,
    /// also print status and header fields
    #[arg(short, long)]
    include: bool,
    /// write the body here
    #[arg(short, long)]
    out: Option<PathBuf>,
    /// https://host:port/path
    url: String,
}

/// Sends it; exit code 1 when the status is no success.
pub async fn run(args: &CallArgs, out: &mut (dyn Write + Send)) -> Result<Exit> {
    let body = match args.data.as_deref() {
        None => Vec::new(),
        Some(d) => match d.strip_prefix('@') {
            Some(file) => std::fs::read(file).with_context(|| format!("cannot read {file}"))?,
            None => d.as_bytes().to_vec(),
        },
    };
    let method = args.method.as_deref().unwrap_or(if body.is_empty() { "GET" } else { "POST" });
    let method = http::Method::from_bytes(method.as_bytes()).context("--method")?;
    let headers = args
        .headers
        .iter()
        .map(|h| {
            let (n, v) = h.split_once(':').with_context(|| format!("-H `{h}`: expected `Name: value`"))?;
            Ok((n.trim().to_owned(), v.trim().to_owned()))
        })
        .collect::<Result<Vec<_>>>()?;
    let response = client::send(&args.client, method, &args.url, &headers, body).await?;
    if args.include {
        writeln!(out, "HTTP {}", response.status)?;
        for (name, value) in &response.headers {
            writeln!(out, "{name}: {}", value.to_str().unwrap_or("(not ASCII)"))?;
        }
        writeln!(out)?;
    }
    match &args.out {
        Some(path) => std::fs::write(path, &response.body)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => out.write_all(&response.body)?,
    }
    Ok(if (200..300).contains(&response.status) { Exit::Ok } else { Exit::CheckFailed })
}
