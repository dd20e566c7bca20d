//! A ledger held against what was kept of it elsewhere: checkpoints, and the tiles that lead to them.

use super::checkpoint::{self, Checkpoint};
use super::tiles::Leaves;
use super::tree::{Hash, Tree};
use super::verify::{Damage, Finding, Part};

/// The tree of a ledger, built leaf by leaf beside what was kept.
pub(super) struct Against {
    tree: Tree,
    /// The checkpoints that are still to come, the smallest first.
    checkpoints: Vec<Checkpoint>,
    kept: Option<Kept>,
    /// The size of the last checkpoint that agreed, and of the first that did not.
    proven: Option<u64>,
    differs: Option<u64>,
    /// The first entry that tiles show to be another one.
    replaced: Option<u64>,
}

/// The hashes of leaves that somebody kept. They are worth what the checkpoint is whose root they lead to.
struct Kept {
    leaves: Leaves,
    tree: Tree,
    /// The first that is not that of the ledger.
    differs: Option<u64>,
}

impl Kept {
    /// Takes one more, to hold it against the ledger's own, if that has one more.
    fn next(&mut self, own: Option<&Hash>) -> bool {
        let Some(leaf) = self.leaves.next() else { return false };
        if own.is_some_and(|own| *own != leaf) && self.differs.is_none() {
            self.differs = Some(self.tree.size());
        }
        self.tree.push(leaf);
        true
    }

    fn leads_to(&self, checkpoint: &Checkpoint) -> bool {
        self.tree.size() == checkpoint.size && self.tree.root() == checkpoint.root
    }
}

impl Against {
    pub(super) fn new(checkpoints: &[Checkpoint], kept: Option<Leaves>) -> Self {
        let mut checkpoints = checkpoints.to_vec();
        checkpoints.sort_by_key(|checkpoint| checkpoint.size);
        let kept = kept.map(|leaves| Kept { leaves, tree: Tree::default(), differs: None });
        let mut new =
            Self { tree: Tree::default(), checkpoints, kept, proven: None, differs: None, replaced: None };
        new.compare(None);
        new
    }

    /// How many entries the largest checkpoint speaks for that agreed.
    pub(super) fn proven(&self) -> Option<u64> {
        self.proven
    }

    /// Takes the next leaf of the ledger with this number, which is known from its entry 1 on.
    pub(super) fn push(&mut self, leaf: Hash, ledger_id: Option<&str>) {
        self.tree.push(leaf);
        if let Some(kept) = &mut self.kept {
            kept.next(Some(&leaf));
        }
        self.compare(ledger_id);
    }

    /// Holds the tree against the checkpoints of its size.
    fn compare(&mut self, ledger_id: Option<&str>) {
        let here = self.checkpoints.partition_point(|checkpoint| checkpoint.size <= self.tree.size());
        for checkpoint in self.checkpoints.drain(..here) {
            let of_this = ledger_id.is_none_or(|id| checkpoint::origin(id) == checkpoint.origin);
            if checkpoint.root == self.tree.root() && of_this {
                self.proven = Some(checkpoint.size);
            } else if self.differs.is_none() {
                self.differs = Some(checkpoint.size);
                let kept = self.kept.as_ref().filter(|kept| kept.leads_to(&checkpoint));
                self.replaced = kept.and_then(|kept| kept.differs);
            }
        }
    }

    /// What is to be said of a ledger whose chain holds and ends here.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        // One that is shorter may have been rewritten as well, which the tiles up to the next checkpoint tell.
        if let (Some(kept), Some(next)) = (&mut self.kept, self.checkpoints.first()) {
            while kept.tree.size() < next.size && kept.next(None) {}
            if kept.leads_to(next) && self.differs.is_none() && kept.differs.is_some() {
                (self.replaced, self.differs) = (kept.differs, Some(next.size));
            }
        }
        let at = |damage, id: u64, what| Finding {
            part: Part::Checkpoint,
            damage,
            id: i64::try_from(id).ok(),
            what,
        };
        let mut found = Vec::new();
        if let Some(size) = self.differs {
            let says = format!("the checkpoint of {size} entries says otherwise");
            let from = self.proven.filter(|proven| *proven < size).unwrap_or(0);
            found.push(match self.replaced {
                Some(first) => at(Damage::Rewritten, first, format!("rewritten from here on: {says}")),
                None => at(
                    Damage::Rewritten,
                    from,
                    format!(
                        "rewritten: {says}; the first of entries {from} to {} that was replaced is not told by it",
                        size - 1
                    ),
                ),
            });
        }
        if let Some(checkpoint) = self.checkpoints.first() {
            let there = self.tree.size();
            let what =
                format!("truncated: a checkpoint was made of {} entries, {there} are there", checkpoint.size);
            found.push(at(Damage::Truncated, there, what));
        }
        found
    }
}
