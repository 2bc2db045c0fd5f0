//! Whatever is printed for people or logs, a company's code and data are not in it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail the test")]

use gw_proto::{
    merkle::{Leaf, LeafKind, Root, SignedLeaf},
    message::*,
    record::{Side, TraceStatus},
    report::*,
    uscc::check_character,
    *,
};
use proptest::prelude::*;

const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// Any valid code.
fn code() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..31usize, 17).prop_map(|picks| {
        let mut text: Vec<u8> = picks.into_iter().map(|i| ALPHABET[i]).collect();
        let first17 = <[u8; 17]>::try_from(text.as_slice()).unwrap();
        text.push(check_character(&first17).unwrap());
        String::from_utf8(text).unwrap()
    })
}

fn statement(subject: &Uscc) -> Statement {
    Statement {
        v: VERSION,
        consortium: ConsortiumId::parse("yrd-dev").unwrap(),
        subject: subject.clone(),
        holder: InstitutionId::parse("bank-a").unwrap(),
        purposes: vec![Purpose::ALL[0]],
        dimensions: vec![Dimension::ALL[0]],
        regions: vec![Region::parse("330100").unwrap()],
        not_before: UnixMillis(1),
        not_after: UnixMillis(2),
        max_uses: 1,
        level: EvidenceLevel::Signed,
        revoke_hash: Hex([1; 32]),
        salt: Hex([2; 32]),
    }
}

/// Every message that holds a code or a source's data, as `Debug` prints it. A new one belongs here.
fn printed(subject: &Uscc) -> Vec<(&'static str, String)> {
    let node = NodeId::parse("bank-a-1").unwrap();
    let institution = InstitutionId::parse("bank-a").unwrap();
    let statement = statement(subject);
    // an enterprise's certificate names it
    let der = B64([b"0\x82serialNumber=", subject.expose().as_bytes()].concat());
    let evidence = Evidence::Signed { signature: Hex([3; 64]), chain: vec![der] };
    let authz_id = AuthzId(Hex([4; 32]));
    let opening = Opening::new(
        &institution,
        authz_id,
        subject.clone(),
        Purpose::ALL[0],
        vec![Dimension::ALL[0]],
        Hex([5; 32]),
        Hex([6; 32]),
    )
    .unwrap();
    let request = Request {
        v: VERSION,
        height: Height(1),
        hash: Hex([7; 32]),
        nonce: Hex([8; 32]),
        expires: UnixMillis(3),
        asker: node.clone(),
        audience: node.clone(),
        statement: statement.clone(),
        evidence: evidence.clone(),
        opening: opening.clone(),
    };
    let leaf =
        Leaf { kind: LeafKind::Reply, audience: "x".into(), salt: Hex([9; 32]), digest: Hex([10; 32]) };
    let root = Root {
        context: "x".into(),
        key_id: KeyId(Hex([11; 32])),
        size: 1,
        time: UnixMillis(4),
        root: Hex([12; 32]),
    };
    let proof = SignedLeaf { leaf, index: 0, path: Vec::new(), root, signature: Hex([13; 64]) };
    let values = [Value::Text(subject.expose().into()), Value::Code(subject.expose().into())];
    let items: Vec<Item> = values
        .into_iter()
        .map(|value| Item {
            id: "basic.parent".into(),
            dimension: Dimension::ALL[0],
            value,
            as_of: "2026-01-01".into(),
            key: Some(subject.expose().into()),
            disputed: false,
        })
        .collect();
    let reply = Reply {
        v: VERSION,
        report_id: opening.report_id,
        request_leaf: Hex([14; 32]),
        source: node.clone(),
        asker: node.clone(),
        height: Height(1),
        hash: Hex([15; 32]),
        channel: Hex([16; 32]),
        status: ReplyStatus::Answered,
        catalogue: "2026.1".into(),
        as_of: UnixMillis(5),
        items: items.clone(),
    };
    let delivery = Delivery {
        v: VERSION,
        node: node.clone(),
        asker: institution.clone(),
        side: Side::Asker,
        statement: statement.clone(),
        evidence: evidence.clone(),
        opening: opening.clone(),
        outcomes: vec![DeliveredOutcome {
            source: node.clone(),
            status: TraceStatus::Missing,
            reply_leaf: None,
        }],
    };
    let report = Report {
        v: ANSWER_VERSION,
        report_id: opening.report_id,
        authz_id,
        subject: subject.clone(),
        purpose: opening.purpose,
        dimensions: opening.dimensions.clone(),
        asker: institution,
        node,
        operator_tag: Hex([17; 32]),
        created: UnixMillis(6),
        reserved_at: Height(1),
        catalogue: "2026.1".into(),
        complete: true,
        parts: Vec::new(),
        items: items
            .iter()
            .map(|i| ReportItem { item: i.clone(), sources: Vec::new(), conflicting: false })
            .collect(),
        replies: Vec::new(),
    };
    vec![
        ("Uscc", format!("{subject:?}")),
        ("Statement", format!("{statement:?}")),
        ("Evidence", format!("{evidence:?}")),
        ("Opening", format!("{opening:?}")),
        ("Request", format!("{request:?}")),
        ("SignedRequest", format!("{:?}", SignedRequest { request, proof: proof.clone() })),
        ("Item", format!("{items:?}")),
        ("Reply", format!("{reply:?}")),
        ("SignedReply", format!("{:?}", SignedReply { reply, proof })),
        ("Delivery", format!("{delivery:?}")),
        ("Report", format!("{report:?}")),
    ]
}

proptest! {
    #[test]
    fn a_code_is_in_no_debug_output(code in code()) {
        let subject = Uscc::parse(&code).unwrap();
        let forms = [code.clone(), code.to_lowercase(), hex::encode(&code), format!("{:?}", code.as_bytes())];
        for (what, text) in printed(&subject) {
            for form in &forms {
                prop_assert!(!text.contains(form.as_str()), "{what}: {text}");
            }
        }
    }

    /// Nor in the errors of parsing what is nearly one.
    #[test]
    fn a_mistyped_code_is_in_no_error(code in code(), at in 0..18usize, with in 0..31usize) {
        let mut bent = code.into_bytes();
        bent[at] = ALPHABET[with];
        let bent = String::from_utf8(bent).unwrap();
        if let Err(e) = Uscc::parse(&bent) {
            let said = [e.to_string(), format!("{e:?}")].concat();
            let e = serde_json::from_value::<Uscc>(serde_json::json!(bent)).unwrap_err();
            let said = [said, e.to_string(), format!("{e:?}")].concat();
            prop_assert!(!said.contains(&bent), "{}", said);
        }
    }
}
