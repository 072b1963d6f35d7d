import EaselKit

/// The program's command line, for a checkpoint to remember.
enum TypedCommand {
  /// A message of several lines whose quotations of what was typed begin none.
  static func shown(in message: String) -> String {
    let typed = CommandLine.arguments.dropFirst().flatMap { [$0, String($0.prefix { $0 != "=" })] }
    return typed.filter { $0 != $0.printable }.reduce(message) { $0.replacing($1, with: $1.printable) }
  }

  /// As it was typed, quoted for a shell, but for what belongs to one machine: the program's path, the workspace, and paths out
  /// of it.
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
