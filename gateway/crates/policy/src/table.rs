//! THE table: which writer may write which record.
//!
//! Adding a record type? It does not compile without a row here. A row says who may *try*; what else must
//! hold (the holder is the writer's institution, the source is the writer itself …) is in `apply`.

use gw_proto::record::Record;
use gw_proto::{NodeId, Role};

/// May this kind of writer write this type of record?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// never
    No,
    /// yes, where the record's own conditions hold
    Yes,
    /// only together with the preimage of the revocation hash
    Preimage,
}

/// One row: a cell per kind of writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// k of n offline keys
    pub governance: Cell,
    /// a node with role institution
    pub institution: Cell,
    /// a node with role source
    pub source: Cell,
    /// a node with role supervisor
    pub supervisor: Cell,
}

/// The row of a record's type.
#[rustfmt::skip]
pub fn row(record: &Record) -> Row {
    use Cell::{No, Preimage, Yes};
    let row = |governance, institution, source, supervisor| Row { governance, institution, source, supervisor };
    match record {
        //                               governance institution source    supervisor
        Record::Institution(_)   => row( Yes,       No,         No,       No       ),
        Record::Node(_)          => row( Yes,       No,         No,       No       ),
        Record::EvidenceRoot(_)  => row( Yes,       No,         No,       No       ),
        Record::Policy(_)        => row( Yes,       No,         No,       No       ),
        Record::Catalogue(_)     => row( Yes,       No,         No,       No       ),
        Record::Rules(_)         => row( Yes,       No,         No,       No       ),
        Record::TlsBinding(_)    => row( No,        Yes,        Yes,      Yes      ),
        Record::Authorization(_) => row( No,        Yes,        No,       No       ),
        // institution: the holder needs no preimage, another one does (apply/access.rs)
        Record::Revocation(_)    => row( Preimage,  Yes,        Preimage, Yes      ),
        Record::Reservation(_)   => row( No,        Yes,        No,       No       ),
        Record::Refund(_)        => row( No,        No,         No,       Yes      ),
        Record::Trace(_)         => row( No,        Yes,        Yes,      No       ),
        Record::Heartbeat(_)     => row( No,        No,         Yes,      Yes      ),
        Record::StateDigest(_)   => row( No,        No,         No,       Yes      ),
        Record::Standing(_)      => row( No,        No,         No,       Yes      ),
        Record::Verdict(_)       => row( No,        No,         No,       Yes      ),
        Record::Reference(_)     => row( Yes,       No,         No,       No       ),
    }
}

/// A writer whose signatures hold.
#[derive(Debug, Clone)]
pub enum Author {
    /// k of n offline keys
    Governance,
    /// a listed, active node
    Node(Box<crate::view::NodeRec>),
}

impl Author {
    /// The node, if it is one.
    pub fn node(&self) -> Option<&crate::view::NodeRec> {
        match self {
            Self::Governance => None,
            Self::Node(node) => Some(node),
        }
    }
    /// A node with this role.
    pub fn has(&self, role: Role) -> bool {
        self.node().is_some_and(|n| n.has(role))
    }
    /// The node's id, if it is one.
    pub fn node_id(&self) -> Option<&NodeId> {
        self.node().map(|n| &n.record.id)
    }
}

/// Whether the table lets this writer try. A node has the rights of each of its roles.
pub fn may_write(author: &Author, record: &Record) -> bool {
    let row = row(record);
    let allowed = |cell: Cell| match cell {
        Cell::Yes => true,
        Cell::No => false,
        Cell::Preimage => matches!(record, Record::Revocation(r) if r.preimage.is_some()),
    };
    match author {
        Author::Governance => allowed(row.governance),
        Author::Node(node) => node.record.roles.iter().any(|role| {
            allowed(match role {
                Role::Institution => row.institution,
                Role::Source => row.source,
                Role::Supervisor => row.supervisor,
            })
        }),
    }
}
