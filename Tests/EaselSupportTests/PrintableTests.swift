import EaselSupport
import Testing

@Suite struct PrintableTests {
  @Test(
    "Control characters are made visible, and everything else stays",
    arguments: [
      ("größe 2 日本 👩‍🎨 a\\b", "größe 2 日本 👩‍🎨 a\\b"), ("\u{1B}[31mred", "\\u{1B}[31mred"),
      ("two\nlines\r\n", "two\\u{A}lines\\u{D}\\u{A}"),
      ("a\u{202E}gnp.exe", "a\\u{202E}gnp.exe"), ("\u{9B}31m\u{7F}\u{2028}", "\\u{9B}31m\\u{7F}\\u{2028}"),
      ("tab\t", "tab\\u{9}"),
    ])
  func printable(_ text: String, _ shown: String) { #expect(text.printable == shown) }

  @Test func linesStay() { #expect("a\u{1B}\nb\n".printableLines == "a\\u{1B}\nb\n") }

  @Test func jsonKeepsItsMeaning() { #expect("\"a\u{9B}\u{202E}\"".printableJSON == #""a\u009B\u202E""#) }

  @Test func errorsAreALineAndAHint() {
    let error = UserError(.badData, "a\neasel: all is well: \u{1B}[2J", hint: "b\nc")
    #expect(error.description == "a\\u{A}easel: all is well: \\u{1B}[2J\nb\\u{A}c")
  }
}
