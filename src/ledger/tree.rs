//! The Merkle tree over a ledger's entries (RFC 6962, section 2.1), by which a checkpoint says in one hash what the
//! ledger held, and by which witnesses of transparency logs can follow it. A leaf's data is the 32 bytes of an entry's
//! hash, which covers every field of it and the entry before.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// The hash of a leaf.
#[must_use]
pub fn leaf(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree to which leaves are added, of which only the roots of its whole subtrees are kept: at most one for each
/// power of two, from the largest down.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Tree {
    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = node(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The hash of all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.subtrees.iter().rev();
        let Some(last) = from_the_right.next() else { return Sha256::digest([]).into() };
        from_the_right.fold(*last, |right, left| node(left, &right))
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}

/// The ranges of leaves whose roots prove that the first `old` of `new` leaves are those of a tree of that size
/// (RFC 6962, section 2.1.2), in the order of the proof. They do not overlap. `old` is at least 1 and at most `new`.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Vec<Range<u64>> {
    fn subproof(old: u64, range: Range<u64>, known: bool, proof: &mut Vec<Range<u64>>) {
        let length = range.end - range.start;
        if old == length {
            if !known {
                proof.push(range);
            }
            return;
        }
        // The largest power of two that is smaller than the length.
        let left = 1 << (u64::BITS - 1 - (length - 1).leading_zeros());
        let middle = range.start + left;
        if old <= left {
            subproof(old, range.start..middle, known, proof);
            proof.push(middle..range.end);
        } else {
            subproof(old - left, middle..range.end, false, proof);
            proof.push(range.start..middle);
        }
    }
    let mut proof = Vec::new();
    if old > 0 && old <= new {
        subproof(old, 0..new, true, &mut proof);
    }
    proof
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    /// The definition of RFC 6962, word for word.
    fn mth(leaves: &[&[u8]]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => leaf(one),
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    fn root(leaves: &[&[u8]]) -> Hash {
        let mut tree = Tree::default();
        for data in leaves {
            tree.push(leaf(data));
        }
        tree.root()
    }

    #[test]
    fn roots_are_those_of_the_standard() {
        // The tree of the tests of Certificate Transparency's own implementations.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        assert_eq!(hex(&root(&[])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(&root(&leaves)), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
        for size in 0..=leaves.len() {
            assert_eq!(root(&leaves[..size]), mth(&leaves[..size]), "{size}");
        }
    }

    #[test]
    fn a_proof_of_consistency_leads_from_the_old_root_to_the_new() {
        let data: Vec<[u8; 2]> = (0..70_u16).map(u16::to_be_bytes).collect();
        let leaves: Vec<&[u8]> = data.iter().map(<[u8; 2]>::as_slice).collect();
        let at = |n: u64| usize::try_from(n).unwrap();
        let root_of = |range: &Range<u64>| mth(&leaves[at(range.start)..at(range.end)]);
        for new in 1..=70_u64 {
            for old in 1..=new {
                let ranges = consistency(old, new);
                let mut proof: Vec<Hash> = ranges.iter().map(root_of).collect();
                // The verification of RFC 9162, section 2.1.4.2.
                if old == new {
                    assert!(proof.is_empty());
                    continue;
                }
                if old.is_power_of_two() {
                    proof.insert(0, root_of(&(0..old)));
                }
                let (mut fnode, mut snode) = (old - 1, new - 1);
                while fnode & 1 == 1 {
                    fnode >>= 1;
                    snode >>= 1;
                }
                let (mut first, mut second) = (proof[0], proof[0]);
                for c in &proof[1..] {
                    assert_ne!(snode, 0);
                    if fnode & 1 == 1 || fnode == snode {
                        first = node(c, &first);
                        second = node(c, &second);
                        while fnode & 1 == 0 && fnode != 0 {
                            fnode >>= 1;
                            snode >>= 1;
                        }
                    } else {
                        second = node(&second, c);
                    }
                    fnode >>= 1;
                    snode >>= 1;
                }
                assert_eq!(
                    (first, second, snode),
                    (root_of(&(0..old)), root_of(&(0..new)), 0),
                    "{old} {new}"
                );
            }
        }
    }
}
