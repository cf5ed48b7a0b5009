/// What an accepted delivery survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Memory,
    /// The process and the machine's power, not the machine's disk.
    LocalDisk,
    /// The loss of one machine.
    Replicated,
}
