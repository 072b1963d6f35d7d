/// The program's command line, for a checkpoint to remember.
enum TypedCommand {
  /// As it was typed, quoted for a shell, but for what belongs to one machine: the program's path and the workspace.
  static var text: String {
    var words = ["easel"]
    var isWorkspace = false
    for argument in CommandLine.arguments.dropFirst() {
      defer { isWorkspace = argument == "--workspace" }
      if isWorkspace || argument == "--workspace" || argument.hasPrefix("--workspace=") { continue }
      words.append(quoted(argument))
    }
    return words.joined(separator: " ")
  }

  private static func quoted(_ argument: String) -> String {
    if argument.wholeMatch(of: /[A-Za-z0-9_@%+=:,.\/-]+/) != nil { return argument }
    return "'" + argument.replacing("'", with: #"'\''"#) + "'"
  }
}
