//! Reasons that concern authorizations, reservations, refunds and traces: rows of `fates`.

use crate::common::*;
use crate::fates::{Row, row};
use gw_policy::{Fate, RefusalReason as Why};
use gw_proto::record::*;
use gw_proto::*;

pub(crate) fn authorization_rows() -> Vec<Row> {
    let grant = |w: &mut World, change: &dyn Fn(&mut message::Statement)| {
        let mut s = statement(1);
        change(&mut s);
        w.one("bank-a-1", authorization(&s))
    };
    let good = |w: &mut World| {
        assert_eq!(w.one("bank-a-1", authorization(&statement(1))), Fate::Accepted);
        Authorization::of(&statement(1)).unwrap()
    };
    let revoke = |w: &mut World, by: &str, preimage| {
        let authz_id = Authorization::of(&statement(1)).unwrap().id;
        w.one(by, Record::Revocation(Revocation { authz_id, preimage }))
    };
    vec![
        row("another's", Why::ForeignHolder, |w| grant(w, &|s| s.holder = inst("bank-b"))),
        row("id", Why::IdMismatch, |w| {
            let record =
                Authorization { id: AuthzId(Hex([0; 32])), ..Authorization::of(&statement(1)).unwrap() };
            w.one("bank-a-1", Record::Authorization(record))
        }),
        row("same id, more uses", Why::Conflict, |w| {
            let record = Authorization { max_uses: 5, ..good(w) };
            w.one("bank-a-1", Record::Authorization(record))
        }),
        row("empty validity", Why::ValidityInvalid, |w| grant(w, &|s| s.not_before = s.not_after)),
        row("over", Why::Expired, |w| {
            w.time = at(HOUR);
            grant(w, &|s| s.not_after = at(HOUR))
        }),
        row("no uses", Why::UsesAboveCap, |w| grant(w, &|s| s.max_uses = 0)),
        row("more uses than the level's cap", Why::UsesAboveCap, |w| grant(w, &|s| s.max_uses = 6)),
        row("a fourth asserted one on a day", Why::DayCap, |w| {
            assert!((1..4).all(|i| grant(w, &|s| s.salt = Hex([i; 32])) == Fate::Accepted));
            grant(w, &|s| s.salt = Hex([4; 32]))
        }),
        row("revoked by a stranger", Why::WriterNotAllowed, |w| {
            good(w);
            revoke(w, "bank-b-1", None)
        }),
        row("revoked by the holder's region's source", Why::WriterNotAllowed, |w| {
            good(w);
            revoke(w, "bureau-c-1", None)
        }),
        row("wrong preimage", Why::PreimageWrong, |w| {
            good(w);
            revoke(w, "bank-b-1", Some(preimage(2)))
        }),
        row("revoked before it is known", Why::UnknownAuthorization, |w| revoke(w, "pboc-1", None)),
    ]
}
pub(crate) fn use_rows() -> Vec<Row> {
    let bank_a = inst("bank-a");
    let reserve_until = |w: &mut World, salt, deadline| {
        w.one("bank-a-1", reservation(&opening(&statement(1), &inst("bank-a"), salt), deadline))
    };
    let reserve = |w: &mut World, salt| {
        let deadline = UnixMillis(w.time.0 + 1000);
        w.one("bank-a-1", reservation(&opening(&statement(1), &inst("bank-a"), salt), deadline))
    };
    let good = |w: &mut World| {
        assert_eq!(w.one("bank-a-1", authorization(&statement(1))), Fate::Accepted);
    };
    let reserved = |w: &mut World| {
        good(w);
        assert_eq!(reserve(w, 1), Fate::Accepted);
        opening(&statement(1), &inst("bank-a"), 1).report_id
    };
    let tell = |w: &mut World, by: &str, t: Trace| w.one(by, Record::Trace(t));
    let answered = |id, side| trace("bank-a", id, side, "bureau-c-1", TraceStatus::Answered);
    vec![
        row("no authorization", Why::UnknownAuthorization, |w| reserve(w, 1)),
        row("another's authorization", Why::ForeignHolder, |w| {
            good(w);
            let t = opening(&statement(1), &inst("bank-b"), 1);
            w.one("bank-b-1", reservation(&t, at(1000)))
        }),
        row("not yet in force", Why::NotYetValid, |w| {
            let mut s = statement(1);
            s.not_before = at(1);
            assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
            w.one("bank-a-1", reservation(&opening(&s, &bank_a, 1), at(1000)))
        }),
        row("expired", Why::Expired, |w| {
            good(w);
            w.time = at(30 * DAY);
            reserve(w, 1)
        }),
        row("revoked", Why::Revoked, |w| {
            good(w);
            let authz_id = Authorization::of(&statement(1)).unwrap().id;
            let revocation = Revocation { authz_id, preimage: Some(preimage(1)) };
            assert_eq!(w.one("bureau-c-1", Record::Revocation(revocation)), Fate::Accepted);
            reserve(w, 1)
        }),
        row("third of two uses", Why::UsedUp, |w| {
            reserved(w);
            assert_eq!(reserve(w, 2), Fate::Accepted);
            reserve(w, 3)
        }),
        row("cap lowered since", Why::UsesAboveCap, |w| {
            reserved(w);
            let mut p = policy(2);
            p.caps.asserted.max_uses = 1;
            assert_eq!(w.govern_one(Record::Policy(p)), Fate::Accepted);
            reserve(w, 2)
        }),
        row("deadline past", Why::DeadlineInvalid, |w| {
            good(w);
            reserve_until(w, 1, w.time)
        }),
        row("deadline too far", Why::DeadlineInvalid, |w| {
            good(w);
            reserve_until(w, 1, UnixMillis(w.time.0 + 600_001))
        }),
        row("same report id, other commitment", Why::Conflict, |w| {
            let report_id = reserved(w);
            let authz_id = Authorization::of(&statement(1)).unwrap().id;
            let commitment = Commitment(Hex([0; 32]));
            let r = Reservation { report_id, authz_id, commitment, deadline: at(1000) };
            w.one("bank-a-1", Record::Reservation(r))
        }),
        row("refund of nothing", Why::UnknownReservation, |w| {
            let refund = Refund { asker: inst("bank-a"), report_id: ReportId(Hex([0; 32])) };
            w.one("pboc-1", Record::Refund(refund))
        }),
        row("refund of what was refused", Why::ReservationRefused, |w| {
            good(w);
            assert_ne!(reserve_until(w, 1, w.time), Fate::Accepted);
            let report_id = opening(&statement(1), &inst("bank-a"), 1).report_id;
            w.one("pboc-1", Record::Refund(Refund { asker: inst("bank-a"), report_id }))
        }),
        row("trace of nothing", Why::UnknownReservation, |w| {
            tell(w, "bank-a-1", answered(ReportId(Hex([0; 32])), Side::Asker))
        }),
        row("trace of what was refused", Why::ReservationRefused, |w| {
            good(w);
            assert_ne!(reserve_until(w, 1, w.time), Fate::Accepted);
            let report_id = opening(&statement(1), &inst("bank-a"), 1).report_id;
            tell(w, "bank-a-1", answered(report_id, Side::Asker))
        }),
        row("another source's trace", Why::WrongSide, |w| {
            let id = reserved(w);
            tell(w, "bureau-d-1", answered(id, Side::Source))
        }),
        row("another bank's trace", Why::WrongSide, |w| {
            let id = reserved(w);
            tell(w, "bank-b-1", answered(id, Side::Asker))
        }),
        row("trace of a bank as a source", Why::UnknownSource, |w| {
            let id = reserved(w);
            tell(w, "bank-a-1", trace("bank-a", id, Side::Asker, "bank-b-1", TraceStatus::Missing))
        }),
        row("answered taken back", Why::TraceFinal, |w| {
            let id = reserved(w);
            assert_eq!(tell(w, "bureau-c-1", answered(id, Side::Source)), Fate::Accepted);
            tell(w, "bureau-c-1", trace("bank-a", id, Side::Source, "bureau-c-1", TraceStatus::Refused))
        }),
        row("a ninth reply", Why::TooMany, |w| {
            let id = reserved(w);
            let leaf = |i| Trace { reply_leaf: Some(Hex([i; 32])), ..answered(id, Side::Source) };
            assert!((0..8).all(|i| tell(w, "bureau-c-1", leaf(i)) == Fate::Accepted));
            tell(w, "bureau-c-1", leaf(8))
        }),
    ]
}
