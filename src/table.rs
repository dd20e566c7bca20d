//! Plain columns, for a person.

/// Rows under a heading, each column as wide as its widest cell.
pub fn render<const N: usize>(heading: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut all: Vec<[String; N]> = vec![heading.map(str::to_owned)];
    all.extend(rows);
    let widths: Vec<usize> =
        (0..N).map(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up_by_characters() {
        let text = super::render(
            ["A", "B"],
            [["äö".to_owned(), "x".to_owned()], ["a".into(), "yy".into()]].into_iter(),
        );
        assert_eq!(text, "A   B\näö  x\na   yy\n");
    }
}
