//! A phrase for an operation, to show what can be asked.

use super::pattern::Node;

/// The shortest that a pattern says: the first of alternatives, nothing that may be left out, samples for values.
pub(super) fn example(node: &Node) -> String {
    let mut words = Vec::new();
    put(node, &mut words);
    let mut text = String::new();
    for word in words {
        if !text.is_empty() && !word.starts_with([',', ':', '\'']) {
            text.push(' ');
        }
        text.push_str(&word);
    }
    text
}

fn put(node: &Node, words: &mut Vec<String>) {
    match node {
        Node::Word(word) => words.push(word.clone()),
        Node::All(nodes) => nodes.iter().for_each(|node| put(node, words)),
        Node::Any(nodes) => nodes.iter().take(1).for_each(|node| put(node, words)),
        Node::Slot(slot) => words.push(slot.kind.sample().to_owned()),
        Node::Rest(_) => words.push("containers created last week".to_owned()),
        Node::Plain => words.push("alice".to_owned()),
        Node::Tail => words.push("last week".to_owned()),
        Node::Maybe(_) | Node::Set(..) | Node::Sentence(_) => {}
    }
}
