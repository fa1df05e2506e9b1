//! Why something happened: the stable words of Kubernetes Events.

/// Why something happened, as users and their alerts know it. The names are for ever; MetalLB's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// MetalLB's spelling.
    IPAllocated,
    AllocationFailed,
    /// An address was taken away: its pool no longer has it.
    ClearAssignment,
    /// An address of the other family could not be added.
    AdditionalAssignFailed,
    LoadBalancerFailed,
    /// MetalLB's spelling: a node announces the address.
    NodeAssigned,
    AnnounceFailed,
    /// A setting of the object cannot be used.
    InvalidSetting,
    PoolConflict,
    /// A change is refused because it would take addresses from Services.
    DisruptionRefused,
}

impl Reason {
    pub const ALL: [Reason; 10] = [
        Reason::IPAllocated,
        Reason::AllocationFailed,
        Reason::ClearAssignment,
        Reason::AdditionalAssignFailed,
        Reason::LoadBalancerFailed,
        Reason::NodeAssigned,
        Reason::AnnounceFailed,
        Reason::InvalidSetting,
        Reason::PoolConflict,
        Reason::DisruptionRefused,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Reason::IPAllocated => "IPAllocated",
            Reason::AllocationFailed => "AllocationFailed",
            Reason::ClearAssignment => "ClearAssignment",
            Reason::AdditionalAssignFailed => "AdditionalAssignFailed",
            Reason::LoadBalancerFailed => "LoadBalancerFailed",
            Reason::NodeAssigned => "nodeAssigned",
            Reason::AnnounceFailed => "announceFailed",
            Reason::InvalidSetting => "InvalidSetting",
            Reason::PoolConflict => "PoolConflict",
            Reason::DisruptionRefused => "DisruptionRefused",
        }
    }

    /// Does it call for somebody's attention?
    pub const fn is_warning(self) -> bool {
        match self {
            Reason::IPAllocated | Reason::NodeAssigned => false,
            Reason::AllocationFailed
            | Reason::ClearAssignment
            | Reason::AdditionalAssignFailed
            | Reason::LoadBalancerFailed
            | Reason::AnnounceFailed
            | Reason::InvalidSetting
            | Reason::PoolConflict
            | Reason::DisruptionRefused => true,
        }
    }

    /// What was being done, for the field `action`.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Reason::IPAllocated
            | Reason::AllocationFailed
            | Reason::ClearAssignment
            | Reason::AdditionalAssignFailed
            | Reason::LoadBalancerFailed => "AllocateAddress",
            Reason::NodeAssigned | Reason::AnnounceFailed => "Announce",
            Reason::InvalidSetting | Reason::PoolConflict | Reason::DisruptionRefused => "Configure",
        }
    }
}
