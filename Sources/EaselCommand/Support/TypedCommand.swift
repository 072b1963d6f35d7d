import EaselKit

/// The program's command line, as a checkpoint records it.
enum TypedCommand {
  /// A message in which quoted arguments are made printable, so that none of them begins a line.
  static func shown(in message: String) -> String {
    let typed = CommandLine.arguments.dropFirst().flatMap { [$0, String($0.prefix { $0 != "=" })] }
    return typed.filter { $0 != $0.printable }.reduce(message) { $0.replacing($1, with: $1.printable) }
  }

  /// The command line as it was typed, quoted for a shell, without what belongs to one machine: the program's path, the
  /// workspace, and paths outside it.
  static func text(in workspace: Workspace) -> String {
    var words = ["easel"]
    var isWorkspace = false
    for argument in CommandLine.arguments.dropFirst() {
      defer { isWorkspace = argument == "--workspace" }
      if isWorkspace || argument == "--workspace" || argument.hasPrefix("--workspace=") { continue }
      words.append(argument)
    }
    return HandedOn(workspace: workspace.path).command(words)
  }
}
