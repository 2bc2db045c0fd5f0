//! Which devices are enrolled, in the supervisor's database.

use super::{
    enrol::Device,
    history::{Latest, latest},
};
use crate::supervisor::{
    db::{DbError, Session, values},
    store::{StoreError, SupervisorStore, text, value},
};
use gw_proto::{NodeId, UnixMillis};

/// More devices than a consortium has.
const MAX_DEVICES: u32 = 10_000;

/// Why a device was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The chip is another device's.
    #[error("the endorsement key is enrolled as {device}")]
    Endorsement {
        /// whose
        device: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DbError> for EnrolError {
    fn from(e: DbError) -> Self {
        Self::Store(e.into())
    }
}

/// A device, if it is enrolled.
pub(super) fn load(s: &mut dyn Session, device: &NodeId) -> Result<Option<Device>, StoreError> {
    let found = s.row("select body from enrolment where device = ?1", values![device.as_str()])?;
    found.map(|row| value("enrolment", row.text(0)?)).transpose()
}

/// Whether an enrolment of this device or of this chip was ended once.
pub(in crate::supervisor) fn was_ended(s: &mut dyn Session, device: &Device) -> Result<bool, StoreError> {
    // as it stands in the kept enrolment
    let chip = format!("%\"endorsement_certificate\":\"{}\"%", device.endorsement());
    let found = s.row(
        "select device from decommissioned where device = ?1 or body like ?2 limit 1",
        values![device.enrolled.device.as_str(), chip],
    )?;
    Ok(found.is_some())
}

/// Keeps a device; its endorsement key must be no other device's. Alone: it is looked first.
pub(super) fn keep(s: &mut dyn Session, device: &Device) -> Result<(), EnrolError> {
    let (name, endorsement) = (device.enrolled.device.as_str(), device.endorsement().to_string());
    let other = s.row(
        "select device from enrolment where endorsement = ?1 and device <> ?2",
        values![&endorsement, name],
    )?;
    if let Some(row) = other {
        return Err(EnrolError::Endorsement { device: row.text(0)?.to_owned() });
    }
    s.execute(
        "insert into enrolment (device, endorsement, body) values (?1, ?2, ?3)
         on conflict (device) do update set endorsement = excluded.endorsement, body = excluded.body",
        values![name, &endorsement, text("enrolment", device)?],
    )?;
    Ok(())
}

impl SupervisorStore {
    /// A device, if it is enrolled.
    pub fn enrolment(&self, device: &NodeId) -> Result<Option<Device>, StoreError> {
        self.db().read(|s| load(s, device))
    }

    /// All devices, by name.
    pub fn enrolments(&self) -> Result<Vec<Device>, StoreError> {
        let sql = "select body from enrolment order by device limit ?1";
        let rows = self.db().read(|s| s.rows(sql, values![MAX_DEVICES]))?;
        rows.iter().map(|row| value("enrolment", row.text(0)?)).collect()
    }

    /// All devices, by name, each with its newest verdict. One question, in which no verdict is parsed.
    pub fn fleet(&self) -> Result<Vec<(Device, Option<Latest>)>, StoreError> {
        let sql = concat!(
            "select ",
            latest!(),
            ", e.body from enrolment e left join latest l on l.device = e.device order by e.device limit ?1"
        );
        let rows = self.db().read(|s| s.rows(sql, values![MAX_DEVICES]))?;
        let line = |row: &_| Ok((value("enrolment", Latest::after(row)?)?, Latest::of(row)?));
        rows.iter().map(line).collect()
    }

    /// Keeps a device; its endorsement key must be no other device's.
    pub fn enrol(&self, device: &Device) -> Result<(), EnrolError> {
        self.db().write(|s| keep(s, device))
    }

    /// Forgets an enrolment and remembers that, by whom and why; its verdicts stay. False where there was none.
    pub fn decommission(
        &self,
        device: &NodeId,
        by: &str,
        reason: &str,
        at: UnixMillis,
    ) -> Result<bool, StoreError> {
        self.db().write(|s| {
            s.execute(
                "insert into decommissioned (at, who, device, reason, body)
                 select ?1, ?2, device, ?3, body from enrolment where device = ?4",
                values![at, by, reason, device.as_str()],
            )?;
            Ok(s.execute("delete from enrolment where device = ?1", values![device.as_str()])? == 1)
        })
    }
}
