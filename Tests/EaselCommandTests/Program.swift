import EaselKit
import EaselTestSupport
import Foundation

/// The built `easel` program, run in a temporary workspace.
final class Program: Sendable {
  struct Result {
    let status: Int32
    let output: String
    let errors: String
  }

  let workspace: String

  init() throws {
    workspace = NSTemporaryDirectory() + "easel-test-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: workspace, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: workspace) }

  /// The program beside the test bundle, where the package manager puts it.
  static let executable: URL = {
    let bundle = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    return bundle.appendingPathComponent("easel")
  }()

  /// Runs `easel` with arguments; the workspace is the current folder.
  @discardableResult
  func run(_ arguments: String...) throws -> Result { try run(arguments) }

  func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    try finish(start(arguments, environment: environment))
  }

  struct Running {
    let process: Process
    let output, errors: String
  }

  /// Runs a line of bash, with the program as `$easel`.
  func start(shell line: String) throws -> Running {
    try start(
      ["-c", line], environment: ["easel": Program.executable.path], of: URL(fileURLWithPath: "/bin/bash"))
  }

  /// - Parameter environment: variables besides this process's own.
  func start(
    _ arguments: [String], environment: [String: String] = [:], of executable: URL = Program.executable
  ) throws -> Running {
    let process = Process()
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.executableURL = executable
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: workspace)
    // Use files, since a pipe that nobody reads meanwhile would block.
    let name = path(".test-output-" + UUID().uuidString)
    for file in [name + ".out", name + ".err"] { _ = FileManager.default.createFile(atPath: file, contents: nil) }
    process.standardOutput = FileHandle(forWritingAtPath: name + ".out")
    process.standardError = FileHandle(forWritingAtPath: name + ".err")
    process.standardInput = FileHandle.nullDevice
    try process.run()
    return Running(process: process, output: name + ".out", errors: name + ".err")
  }

  func finish(_ running: Running) throws -> Result {
    running.process.waitUntilExit()
    func text(_ path: String) throws -> String {
      defer { try? FileManager.default.removeItem(atPath: path) }
      return try String(contentsOfFile: path, encoding: .utf8)
    }
    return Result(
      status: running.process.terminationStatus, output: try text(running.output), errors: try text(running.errors))
  }

  /// Waits until a running training has recorded a step, or a later one, in its metrics.
  func wait(_ running: Running, untilStep step: Int, of run: String) throws {
    let log = path("Checkpoints/\(run)/metrics.jsonl")
    try EaselTestSupport.wait(for: "step \(step) in \(log)", whileRunning: running.process) {
      // The file may not exist yet, or its last line may be half written.
      ((try? MetricsLog.lastRecord(at: log)) ?? nil)?.step ?? 0 >= step
    }
  }

  func path(_ name: String) -> String { "\(workspace)/\(name)" }

  func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path(name))) }

  /// Everything in the workspace, hidden files too.
  var contents: Set<String> {
    Set(FileManager.default.enumerator(atPath: workspace)?.compactMap { $0 as? String } ?? [])
  }

  /// A folder of small pictures, each a bright square on a dark ground, in two classes.
  func writeImages(_ folder: String, count: Int = 40, side: Int = 12, channels: Int = 1) throws {
    for index in 0..<count {
      let (left, top) = (index % (side - 4), (index * 5) % (side - 4))
      let pixels = (0..<side * side * channels).map { place -> UInt8 in
        let (row, column) = (place / channels / side, place / channels % side)
        let inside = (top..<top + 4).contains(row) && (left..<left + 4).contains(column)
        return inside ? UInt8(255 - 40 * (place % channels)) : 20
      }
      let name = path("\(folder)/\(index % 2 == 0 ? "even" : "odd")")
      try FileManager.default.createDirectory(atPath: name, withIntermediateDirectories: true)
      try Image(width: side, height: side, channels: channels, pixels: pixels).write(to: "\(name)/\(index).png")
    }
  }

  /// Options for a diffusion model that trains quickly.
  static let tinyDiffusion = [
    "--set", "channels=8,16", "--set", "groups=4", "--set", "attention-levels=1", "--set", "sampler-steps=4",
    "--set", "batch-size=8", "--set", "warmup-steps=2",
  ]

  /// Trains a tiny diffusion model on the pictures in `images`.
  @discardableResult
  func trainTinyDiffusion(run: String, steps: Int, _ more: [String] = []) throws -> Result {
    try self.run(
      ["train", "diffusion-small", "--data", "images", "--run", run, "--steps", String(steps), "--seed", "3"]
        + Program.tinyDiffusion + more)
  }
}
