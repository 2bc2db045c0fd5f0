//! Takes a provisioning file, or says which rule it breaks and leaves everything as it was.
//!
//! | rule | why |
//! |---|---|
//! | signed by a key that the image, the configuration or the typed code names | whoever has a stick is nobody yet |
//! | for this box's serial number, or for any box of its institution | a file for another box brings another's addresses |
//! | not expired | a lost stick is worthless some day |
//! | number above the last one taken | an old file would bring old roots back |
//! | nothing that `xinguan check-config` refuses | a box that cannot start helps nobody |
//!
//! What was taken is remembered on the data partition: without it nothing is taken.

use crate::{
    SetupError,
    answers::{self, Answers},
    bundle::{self, Bundle, Pins},
    code::Code,
    commit::put_in_place,
    files::{Files, MAX_FILE},
    folder::{Folder, replace},
    judge::Judge,
    places::{Places, read_bytes},
};
use gw_proto::{Digest, PublicKey};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Keys that count: a JSON list, in the image and on the configuration partition.
pub const PINNED: &str = "provisioners.json";
const RECORD: &str = "provision.json";
const MAX_KEYS: usize = 8;

/// What was taken last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    number: u64,
    digest: Digest,
    institution: String,
    /// false: the power may have gone while it was put in place
    done: bool,
}

/// What came of a stick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The configuration is new; the box must start anew. What is still missing.
    Applied {
        /// the file's number
        number: u64,
        /// files that come later
        missing: Vec<String>,
    },
    /// This very file was taken before.
    Nothing,
}

/// The box as a provisioning file meets it.
pub struct Host<'a> {
    /// its folders
    pub places: &'a Places,
    /// its configuration partition, writable
    pub config: &'a mut dyn Folder,
    /// its records on the data partition
    pub records: &'a mut dyn Folder,
    /// s since 1970, never before the image was made
    pub now_s: u64,
    /// what the gateway says
    pub judge: &'a Judge,
}

/// Takes the file of a stick.
pub fn take(stick: &Path, of: &mut Host<'_>) -> Result<Outcome, SetupError> {
    let bytes = read_bytes(&stick.join(bundle::NAME), bundle::MAX_BYTES)?;
    let answers = of.config.read(answers::FILE, MAX_FILE)?.map(|b| Answers::parse(&b)).transpose()?;
    let bundle = bundle::open(&bytes, &pins(of, answers.as_ref())?)?;
    let last = last(of.records)?;
    if last.as_ref().is_some_and(|l| l.done && l.digest == bundle.digest) {
        return Ok(Outcome::Nothing);
    }
    check_box(of, &bundle, answers.as_ref(), last.as_ref())?;
    let files = complete(&bundle, answers.as_ref())?;
    let missing = judge(of, &files)?;
    let mut taken = Taken {
        number: bundle.payload.number,
        digest: bundle.digest,
        institution: bundle.payload.institution.clone(),
        done: false,
    };
    // first the record: from here on nothing older is taken, and this file again only until it is done
    remember(of.records, &taken)?;
    put_in_place(of.config, &files, !files.network().is_empty())?;
    taken.done = true;
    remember(of.records, &taken)?;
    Ok(Outcome::Applied { number: taken.number, missing })
}

fn pins(of: &Host<'_>, answers: Option<&Answers>) -> Result<Pins, SetupError> {
    let mut keys = Vec::new();
    let image = of.places.at("/usr/lib/xinguan").join(PINNED);
    if image.exists() {
        keys.extend(parse_keys(&read_bytes(&image, MAX_FILE)?)?);
    }
    if let Some(bytes) = of.config.read(PINNED, MAX_FILE)? {
        keys.extend(parse_keys(&bytes)?);
    }
    let code = answers.and_then(|a| a.code.as_deref()).and_then(|c| Code::parse(c).ok());
    Ok(Pins { keys, code })
}

fn parse_keys(bytes: &[u8]) -> Result<Vec<PublicKey>, SetupError> {
    let keys: Vec<PublicKey> =
        serde_json::from_slice(bytes).map_err(|e| SetupError::unfit(PINNED, e.to_string()))?;
    if keys.len() > MAX_KEYS {
        return Err(SetupError::unfit(PINNED, format!("more than {MAX_KEYS} keys")));
    }
    Ok(keys)
}

fn check_box(
    of: &Host<'_>,
    bundle: &Bundle,
    answers: Option<&Answers>,
    last: Option<&Taken>,
) -> Result<(), SetupError> {
    let payload = &bundle.payload;
    if of.now_s > payload.not_after {
        return Err(SetupError::refused(
            "it has expired: ask for a new one, or set the clock if it is wrong",
        ));
    }
    if let Some(wanted) = &payload.serial {
        let own = of.places.serial();
        if own.as_ref() != Some(wanted) {
            let own = own.unwrap_or_else(|| "unknown to its firmware".into());
            return Err(SetupError::refused(format!(
                "it is for the box {wanted}; this one's serial number is {own}"
            )));
        }
    }
    // typed at the console, or of the file before
    let mine = answers.map(|a| &a.institution).or(last.map(|l| &l.institution));
    if let Some(mine) = mine.filter(|m| **m != payload.institution) {
        return Err(SetupError::refused(format!(
            "it is for a box of {}; this one is of {mine}",
            payload.institution
        )));
    }
    if let Some(last) = last {
        let again = payload.number == last.number && bundle.digest == last.digest;
        if payload.number <= last.number && !again {
            return Err(SetupError::refused(format!(
                "its number is {}, the last one taken had {}: it is an old one",
                payload.number, last.number
            )));
        }
    }
    Ok(())
}

/// The file's set, with what was typed at this box in it.
fn complete(bundle: &Bundle, answers: Option<&Answers>) -> Result<Files, SetupError> {
    let mut files = bundle.files.clone();
    let Some(text) = files.file("xinguan.toml").map(|b| String::from_utf8_lossy(b).into_owned()) else {
        return Ok(files);
    };
    let marks = ["@INSTITUTION@", "@NODE@", "@INSIDE@", "@MAN@"];
    match answers {
        Some(answers) => files.put("xinguan.toml", answers.fill(&text)?)?,
        None if marks.iter().any(|m| text.contains(m)) => {
            return Err(SetupError::refused(
                "it leaves addresses or names open: answer the questions at this box's console first",
            ));
        }
        None => {}
    }
    Ok(files)
}

/// The gateway judges what the partition will hold.
fn judge(of: &Host<'_>, new: &Files) -> Result<Vec<String>, SetupError> {
    let mut all = Files::load(of.config)?;
    for (name, bytes) in new.iter() {
        all.put(name, bytes)?;
    }
    if all.file("xinguan.toml").is_none() {
        return Err(SetupError::refused("it brings no xinguan.toml, and this box has none"));
    }
    of.judge.judge(&all)
}

fn last(records: &dyn Folder) -> Result<Option<Taken>, SetupError> {
    let Some(bytes) = records.read(RECORD, MAX_FILE)? else { return Ok(None) };
    let taken = serde_json::from_slice(&bytes).map_err(|e| SetupError::unfit(RECORD, e.to_string()))?;
    Ok(Some(taken))
}

fn remember(records: &mut dyn Folder, taken: &Taken) -> Result<(), SetupError> {
    let text = serde_json::to_vec(taken).map_err(|e| SetupError::unfit(RECORD, e.to_string()))?;
    replace(records, RECORD, &text)
}
