//! The questions of the first start: seven, each answered with one line.
//!
//! 1 language · 2 inside: card and address · 3 MAN: card, address, gateway · 4 time servers · 5 institution/node ·
//! 6 enrolment code · 7 is this right. A wrong answer is explained and asked again. Nothing is written before the last one.

use crate::{
    SetupError,
    answers::{Answers, Said, check_man, parse_code, parse_ids, parse_side, parse_time_servers, said},
    console::{Language, Talk},
    links::Link,
};

/// A code that is wrong so often is not at hand.
const CODE_TRIES: u32 = 5;
/// Who answers wrongly so often begins anew, with the cards as they are then.
const TRIES: u32 = 20;

/// Asks until the person says that all is right. `links` looks at the cards anew each time.
pub fn run(talk: &mut dyn Talk, links: &dyn Fn() -> Vec<Link>) -> Result<Answers, SetupError> {
    talk.say(&said(
        "信关（Xinguan）：本机尚未配置。共七个问题；最后确认前不写入任何内容。",
        "Xinguan: this box has no configuration. Seven questions; nothing is written before the last one.",
    ))?;
    let language = retry(
        talk,
        &said("1/7 语言：1 = 中文，2 = English", "1/7 Language: 1 = Chinese, 2 = English"),
        |t| match t.trim() {
            "1" => Ok(Language::Chinese),
            "2" => Ok(Language::English),
            other => Err(said(format!("“{other}”：请输入 1 或 2"), format!("`{other}`: type 1 or 2"))),
        },
    )?;
    if let Some(language) = language {
        talk.speak(language);
    }
    loop {
        if let Some(answers) = round(talk, &links())? {
            return Ok(answers);
        }
        talk.say(&said(
            "重新开始；尚未写入任何内容。",
            "Once more from the beginning; nothing was written.",
        ))?;
    }
}

/// Questions 2 to 7; none if the person wants to begin anew.
fn round(talk: &mut dyn Talk, links: &[Link]) -> Result<Option<Answers>, SetupError> {
    show(talk, links)?;
    let inside = said(
        "2/7 内网（本机构系统）：网卡编号 地址/前缀 [网关]，例如 1 10.1.0.5/24",
        "2/7 Inside (the institution's systems): card address/prefix [gateway], like 1 10.1.0.5/24",
    );
    let Some(inside) = retry(talk, &inside, |t| parse_side(t, links))? else { return Ok(None) };
    let man = said(
        "3/7 城域网：网卡编号 地址/前缀 网关，例如 2 10.200.3.7/24 10.200.3.1",
        "3/7 MAN: card address/prefix gateway, like 2 10.200.3.7/24 10.200.3.1",
    );
    let other = |t: &str| parse_side(t, links).and_then(|man| check_man(&man, &inside).map(|()| man));
    let Some(man) = retry(talk, &man, other)? else { return Ok(None) };
    let time = said(
        "4/7 时间服务器的 IP 地址，空格分开，最多四个；直接回车 = 无",
        "4/7 Time servers' IP addresses, blanks between, at most four; Enter = none",
    );
    let Some(time_servers) = retry(talk, &time, parse_time_servers)? else { return Ok(None) };
    let ids = said(
        "5/7 机构/节点（与账本一致），例如 bank-suzhou/bank-suzhou-1",
        "5/7 Institution/node, as on the ledger, like bank-suzhou/bank-suzhou-1",
    );
    let Some((institution, node)) = retry(talk, &ids, parse_ids)? else { return Ok(None) };
    let code = ask_code(talk)?;
    let answers = Answers { inside, man, time_servers, institution, node, code };
    Ok(confirmed(talk, &answers)?.then_some(answers))
}

fn show(talk: &mut dyn Talk, links: &[Link]) -> Result<(), SetupError> {
    if links.len() < 2 {
        talk.say(&said(
            format!("找到 {} 块网卡，需要两块：请检查硬件。", links.len()),
            format!("{} network cards are there, two are needed: look at the hardware.", links.len()),
        ))?;
    }
    for (n, link) in links.iter().enumerate() {
        let (zh, en) = match link.carrier {
            Some(true) => ("网线已接", "cable is in"),
            Some(false) => ("无信号", "no cable"),
            None => ("状态未知", "not known whether a cable is in"),
        };
        let head = format!("  {}  {}  {}", n + 1, link.name, link.mac);
        talk.say(&said(format!("{head}  {zh}"), format!("{head}  {en}")))?;
    }
    Ok(())
}

/// Asks until the answer is right; none after too many wrong ones.
fn retry<T>(
    talk: &mut dyn Talk,
    question: &Said,
    parse: impl Fn(&str) -> Result<T, Said>,
) -> Result<Option<T>, SetupError> {
    for _ in 0..TRIES {
        match parse(&talk.ask(question)?) {
            Ok(found) => return Ok(Some(found)),
            Err(why) => talk.say(&said(format!("  ✗ {}", why.zh), format!("  x {}", why.en)))?,
        }
    }
    Ok(None)
}

fn ask_code(talk: &mut dyn Talk) -> Result<Option<String>, SetupError> {
    let question = said(
        "6/7 入网编码（监管方以书面或电话告知，18 位）；直接回车 = 无",
        "6/7 Enrolment code, 18 characters, as the supervisor told you on paper or by telephone; Enter = none",
    );
    for _ in 0..CODE_TRIES {
        match parse_code(&talk.ask(&question)?) {
            Ok(code) => return Ok(code),
            Err(why) => talk.say(&said(format!("  ✗ {}", why.zh), format!("  x {}", why.en)))?,
        }
    }
    talk.say(&said("编码多次有误：不带编码继续。", "Too many wrong codes: going on without one."))?;
    Ok(None)
}

fn confirmed(talk: &mut dyn Talk, answers: &Answers) -> Result<bool, SetupError> {
    let side = |side: &crate::answers::Side| {
        let gateway = side.gateway.map(|g| format!(" → {g}")).unwrap_or_default();
        format!("{} {}{gateway}", side.mac, side.address)
    };
    let list: Vec<_> = answers.time_servers.iter().map(ToString::to_string).collect();
    let (list, code) = (list.join(" "), answers.code.as_deref().unwrap_or("-"));
    let Answers { institution, node, .. } = answers;
    let (inside, man) = (side(&answers.inside), side(&answers.man));
    talk.say(&said(
        format!("内网   {inside}\n城域网 {man}\n时间   {list}\n节点   {institution}/{node}\n编码   {code}"),
        format!("inside {inside}\nMAN    {man}\ntime   {list}\nnode   {institution}/{node}\ncode   {code}"),
    ))?;
    let question = said(
        "7/7 写入并重启？yes = 是，其他 = 重新开始",
        "7/7 Write this and restart? yes, or anything else to begin anew",
    );
    Ok(matches!(talk.ask(&question)?.trim().to_lowercase().as_str(), "yes" | "y" | "是"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person with a list of lines.
    struct Typist {
        lines: Vec<&'static str>,
        asked: Vec<Said>,
        heard: Vec<Said>,
    }

    impl Talk for Typist {
        fn say(&mut self, what: &Said) -> Result<(), SetupError> {
            self.heard.push(what.clone());
            Ok(())
        }
        fn ask(&mut self, what: &Said) -> Result<String, SetupError> {
            self.asked.push(what.clone());
            assert!(!self.lines.is_empty(), "asked once more: {what:?}");
            Ok(self.lines.remove(0).to_owned())
        }
        fn speak(&mut self, _: Language) {}
    }

    fn cards() -> Vec<Link> {
        let card = |n: u8| Link {
            name: format!("enp{n}s0"),
            mac: format!("52:54:00:00:00:0{n}"),
            carrier: Some(true),
        };
        vec![card(1), card(2)]
    }

    fn answer(lines: &[&'static str]) -> (Answers, Typist) {
        let mut typist = Typist { lines: lines.to_vec(), asked: vec![], heard: vec![] };
        let answers = run(&mut typist, &cards).unwrap();
        assert!(typist.lines.is_empty(), "not asked for: {:?}", typist.lines);
        (answers, typist)
    }

    const GOOD: [&str; 7] = [
        "2",
        "1 10.1.0.5/24",
        "2 10.200.3.7/24 10.200.3.1",
        "10.200.0.4",
        "bank-suzhou/bank-suzhou-1",
        "",
        "yes",
    ];

    #[test]
    fn seven_questions() {
        let (answers, typist) = answer(&GOOD);
        assert_eq!(typist.asked.len(), 7);
        let files = answers.files().unwrap();
        let text = String::from_utf8_lossy(files.file("network/20-man.network").unwrap()).into_owned();
        assert!(text.contains("MACAddress=52:54:00:00:00:02\n"), "{text}");
        assert!(text.contains("Address=10.200.3.7/24\n") && text.contains("Gateway=10.200.3.1\n"), "{text}");
        assert!(text.contains("NTP=10.200.0.4\n"), "{text}");
        let kept = Answers::parse(files.file(crate::answers::FILE).unwrap()).unwrap();
        assert_eq!(kept, answers);
    }

    #[test]
    fn a_wrong_answer_is_explained_and_asked_again() {
        let mut lines = GOOD.to_vec();
        for (at, wrong, en) in [
            (6, "7K3M9Q-0XYZ12-3ABCDE", "check digits"),
            (6, "12345", "18 letters and digits"),
            (5, "bank suzhou", "institution/node"),
            (5, "Bank/bank-1", "institution/node"),
            (4, "ntp.example.org", "no name service"),
            (4, "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5", "at most 4"),
            (3, "1 10.200.3.7/24 10.200.3.1", "same card"),
            (3, "2 10.1.0.9/16 10.1.0.1", "same network"),
            (3, "2 10.200.3.7/24", "no gateway"),
            (3, "2 10.200.3.7/24 10.200.4.1", "another address in"),
            (3, "2 10.200.3.7/24 10.200.3.7", "another address in"),
            (2, "3 10.1.0.5/24", "type 1 to 2"),
            (2, "1 10.1.0.5", "no address with a prefix"),
            (2, "1 10.1.0.0/24", "cannot be a box's address"),
            (2, "1 10.1.0.255/24", "cannot be a box's address"),
            (2, "1 127.0.0.1/24", "cannot be a box's address"),
            (2, "1 10.1.0.5/32", "prefix /32"),
            (2, "1 10.1.0.5/24 10.1.0.1 more", "too much"),
            (1, "3", "type 1 or 2"),
        ] {
            lines = GOOD.to_vec();
            lines.insert(at - 1, wrong);
            let (_, typist) = answer(&lines);
            assert!(
                typist.heard.iter().any(|s| s.en.starts_with("  x ") && s.en.contains(en)),
                "{wrong}: {:?}",
                typist.heard
            );
            assert!(typist.heard.iter().any(|s| s.zh.starts_with("  ✗ ")), "{wrong}");
        }
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn codes_are_not_asked_for_ever() {
        let mut lines = GOOD[..5].to_vec();
        lines.extend(["wrong"; 5]);
        lines.push("yes");
        let (answers, _) = answer(&lines);
        assert_eq!(answers.code, None);
    }

    #[test]
    fn saying_no_begins_anew_and_asks_no_language_again() {
        let mut lines = GOOD[..6].to_vec();
        lines.push("no");
        lines.extend(&GOOD[1..]);
        let (_, typist) = answer(&lines);
        assert_eq!(typist.asked.len(), 13);
    }

    #[test]
    fn version_six_works_too() {
        let mut lines = GOOD.to_vec();
        lines[1] = "1 2001:db8:1::5/64";
        lines[2] = "2 2001:db8:2::7/64 2001:db8:2::1";
        let (answers, _) = answer(&lines);
        assert_eq!(answers.fill("x = \"@MAN@:9443\"").unwrap(), "x = \"[2001:db8:2::7]:9443\"");
    }
}
