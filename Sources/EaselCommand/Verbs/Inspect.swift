import ArgumentParser
import EaselKit
import Foundation

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tell what a checkpoint holds, or how a picture was made.")

  @Argument(help: "A run, a checkpoint's folder, or a PNG file.")
  var subject: String

  @OptionGroup var common: CommonOptions

  private struct Description: Encodable {
    var path: String
    var hash: String
    var modelHash: String
    var files: [String: Int]
    var state: RunState
    var tensors: Int
    var parameters: Int
    var configuration: String
  }

  func run() throws {
    if subject.lowercased().hasSuffix(".png") { return try inspectPicture() }
    let workspace = try Workspace(common.workspace)
    let (checkpoint, damaged) = try workspace.checkpoints.resolve(subject)
    for one in damaged { Console.note("\(one.path): passed over: \(one.error.message)") }
    let summary = try CheckpointSummary(checkpoint)
    if common.json {
      return try Console.print(
        json: Description(
          path: checkpoint.path, hash: checkpoint.hash, modelHash: checkpoint.modelHash,
          files: checkpoint.manifest.files.mapValues(\.size),
          state: summary.state, tensors: summary.tensors.count, parameters: summary.parameters,
          configuration: summary.configuration))
    }
    let state = summary.state
    Console.print("checkpoint  \(checkpoint.path)")
    Console.print("files' hash \(checkpoint.hash)")
    Console.print("model hash  \(try checkpoint.modelHash)")
    Console.print("preset      \(state.preset), \(summary.parameters) parameters in \(summary.tensors.count) tensors")
    Console.print(
      "data        \(state.data.name): \(state.data.trainingImages) training images, \(state.data.validationImages) "
        + "held out, SHA-256 \(state.data.fingerprint.prefix(12))…")
    if !state.data.description.classNames.isEmpty {
      Console.print("classes     \(state.data.description.numberedClasses)")
    }
    Console.print("training    step \(state.step), \(duration(state.seconds)), loss \(state.loss.formatted(5))")
    for command in state.commands ?? [] { Console.print("command     \(command)") }
    if let loss = state.validationLoss { Console.print("held-out    loss \(loss.formatted(5))") }
    if let best = state.best {
      Console.print("best        step \(best.step), held-out loss \(best.validationLoss.formatted(5))")
    }
    let environment = state.environment
    Console.print(
      "made with   easel \(environment.easel), \(environment.backend.rawValue), \(environment.precision.rawValue), "
        + (environment.processor.map { "\($0), " } ?? "") + environment.instructionSet
        + (environment.oneDNN.map { ", oneDNN \($0)" } ?? ""))
    for (name, file) in checkpoint.manifest.files.sorted(by: { $0.key < $1.key }) {
      Console.print("file        \(name), \(file.size) bytes")
    }
    Console.print(text: "\n" + summary.configuration)
    for tensor in summary.tensors { Console.print("\(tensor.name)  \(Shape(tensor.shape))") }
  }

  private func inspectPicture() throws {
    let text = try PNGText.read(subject)
    guard !text.entries.isEmpty else {
      throw UserError(
        .unavailable, "\(subject): the picture carries no text", hint: "Easel did not make it, or a program removed it."
      )
    }
    if common.json {
      let entries = Dictionary(text.entries.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
      return try Console.print(json: entries)
    }
    for entry in text.entries { Console.print(text: "\(entry.key)\n\(entry.value)\n") }
  }
}

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check every file of a checkpoint against its hash.")

  @Argument(help: "A run's name, a run's folder or a checkpoint's folder.")
  var checkpoint: String

  @OptionGroup var common: CommonOptions

  private struct Report: Encodable {
    var checkpoint: String
    var valid: Bool
    var problems: [String]
  }

  func run() throws {
    let workspace = try Workspace(common.workspace)
    var problems: [UserError] = []
    let folder: CheckpointFolder?
    do {
      let (newest, damaged) = try workspace.checkpoints.resolve(checkpoint)
      folder = newest
      problems = damaged.map(\.error) + newest.verify(full: true)
    } catch let error as UserError where error.kind == .badData {
      folder = nil
      problems = [error]
    }
    if common.json {
      try Console.print(
        json: Report(
          checkpoint: folder?.path ?? checkpoint, valid: problems.isEmpty, problems: problems.map(\.message)))
    }
    if let first = problems.first {
      for problem in problems.dropFirst() { Console.error(UserError(problem.kind, problem.message)) }
      throw first
    }
    if !common.json { Console.print("\(folder?.path ?? checkpoint): valid") }
  }
}
