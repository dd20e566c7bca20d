//! Words that many operations share: classes of synonyms, and what is no name.

/// Classes that every pattern may use: `<show>`. Those of one operation are declared with it.
pub(super) const CLASSES: &[(&str, &str)] = &[
    ("show", "show [me]|display|view|give me"),
    ("list", "list|show [me]|display|give me [a list of]"),
    ("create", "create|make [me]|set up|spin up|launch|clone"),
    ("delete", "delete|remove|destroy|get rid of"),
    ("which", "which|what"),
    ("what is", "what is|what's"),
    ("this host", "this host|the host|this machine"),
    ("container", "container|ct"),
    ("containers", "containers|cts"),
    ("named", "named|called|labelled|labeled"),
    ("labelled", "labelled|labeled|with [the] label"),
    ("this container", "[the] <container> [<named>] {name}|{evident name}"),
    ("this template", "[the] template [<named>] {name}|[the] {evident name} template"),
    ("this plugin", "[the] plugin [<named>] {name}|the {name} plugin"),
    ("this snapshot", "[the] snapshot [<named>] {name: snapshot}"),
];

/// What a name stands behind that may be any name.
pub(super) fn introduces_a_name(word: &str) -> bool {
    ["named", "called", "labelled", "labeled", "label"].contains(&word)
}

/// Whether a word is a word of the language, and no name unless it is said to be one. Among them is every word of negation:
/// nothing is understood that has one where no pattern has it.
pub(super) fn is_of_the_language(word: &str) -> bool {
    const WORDS: &str = "\
        a about above after again all almost also always am an and another any anybody anyone anything are as at \
        away back be because been before being below besides between both but by called can cannot could did do \
        does down during each either else every everybody everyone everything except few for forever from had \
        has have he her here him his how i if in instead into is it its itself just label labeled labelled last \
        later latest least less let like many may maybe me might mine more most much must my named neither never \
        new newest next no nobody none nor not nothing now nowhere of off old oldest on once one ones only onto \
        or other others otherwise our out over own perhaps please previous rather same shall she should since so \
        some somebody someone something soon still such than that the their them then there these they this \
        those through till to today together tomorrow tonight too under unless until up us using very via was we \
        were what when where whether which while who whole whom whose why will with within without would yes \
        yesterday yet you your";
    WORDS.split(' ').any(|known| known == word) || is_negation(word)
}

/// Whether a word turns what is said around.
pub(super) fn is_negation(word: &str) -> bool {
    const WORDS: &str = "\
        aint arent cannot cant couldnt didnt doesnt dont except hasnt havent isnt kein keine neither never nicht \
        no nobody none nor not nothing nowhere pas shouldnt unless wasnt werent without wont wouldnt";
    word.ends_with("n't") || WORDS.split(' ').any(|known| known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_language_are_found() {
        for word in ["a", "the", "your", "not", "named", "one", "without", "don't", "dont", "nicht"] {
            assert!(is_of_the_language(word), "{word}");
        }
        for word in ["list", "status", "delete", "cache", "container", "web-01"] {
            assert!(!is_of_the_language(word), "{word}");
        }
    }
}
