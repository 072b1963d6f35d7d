import EaselKit

/// The program's command line, for a checkpoint to remember.
enum TypedCommand {
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
