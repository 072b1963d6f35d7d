import EaselKit

extension InspectRequest.Answer {
  private struct Description: Encodable {
    var path, hash, modelHash: String
    var files: [String: Int]
    var state: RunState
    var tensors, parameters: Int
    var configuration: String
  }

  func print(_ desk: Desk) throws {
    switch self {
    case .picture(let text): try print(text, desk)
    case .checkpoint(let checkpoint, let summary): try print(checkpoint, summary, desk)
    }
  }

  private func print(_ text: PNGText, _ desk: Desk) throws {
    if desk.json {
      let entries = Dictionary(text.entries.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
      return try Console.print(json: entries)
    }
    for entry in text.entries { Console.print(text: "\(entry.key)\n\(entry.value)\n") }
  }

  private func print(_ checkpoint: CheckpointFolder, _ summary: CheckpointSummary, _ desk: Desk) throws {
    if desk.json {
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
    for (name, part) in (state.parts ?? [:]).sorted(by: { $0.key < $1.key }) {
      Console.print("part        \(name): \(part.source), model \(part.modelHash.prefix(16))")
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
    for tensor in summary.tensors {
      Console.print("\(tensor.name)  \(Shape(tensor.shape))" + (tensor.number.map { "  \($0)" } ?? ""))
    }
  }
}
