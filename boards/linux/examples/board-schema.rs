//! Prints the JSON Schema of a board's description.

#[expect(clippy::print_stdout, reason = "printing is its job")]
fn main() {
    print!("{}", board_linux::schema());
}
