//! Tables of the command line: columns as wide as their longest cell, two blanks apart, no blanks at line ends.

/// Lays out `rows`; each ends with a newline. Rows may differ in length.
pub(super) fn render<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.as_ref().iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.as_ref().iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        out.push_str(line.trim_end_matches(' '));
        out.push('\n');
    }
    out
}

/// A row of texts.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [row(["Node", "ID", "DC"]), row(["a-long-name", "", "dc1"]), row(["\u{e4}\u{f6}", "x", ""])];
        assert_eq!(render(&rows), "Node         ID  DC\na-long-name      dc1\n\u{e4}\u{f6}           x\n");
    }

    #[test]
    fn rows_of_any_length() {
        assert_eq!(render(&[vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()], vec![]]), "a\nb  c\n\n");
        assert_eq!(render::<Vec<String>>(&[]), "");
    }
}
