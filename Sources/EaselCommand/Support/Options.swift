import ArgumentParser
import EaselKit
import EaselSupport

// Options that several verbs share. What an option means is written once, in the request's table of fields.

extension ArgumentHelp {
  /// What a field of a request means.
  static func field<Root: DeclaredFields>(_ path: PartialKeyPath<Root>) -> ArgumentHelp {
    ArgumentHelp(stringLiteral: Root.explanation(path))
  }
}

/// Options that every verb takes.
struct CommonOptions: ParsableArguments {
  @Option(help: "The folder with Data/, Checkpoints/ and Samples/ (default: the current one).")
  var workspace: String?

  @Flag(help: "Print one JSON object on standard output.")
  var json = false
}

/// Where and how precisely to compute.
struct ComputeOptions: ParsableArguments {
  @Option(help: .field(\ComputeChoice.precision)) var precision: Precision?
  @OptionGroup var backend: BackendOptions

  var choice: ComputeChoice {
    var choice = backend.choice
    choice.precision = precision
    return choice
  }
}

/// Where to compute.
struct BackendOptions: ParsableArguments {
  @Option(help: .field(\ComputeChoice.kind)) var backend: BackendKind?
  @Option(parsing: .unconditional, help: .field(\ComputeChoice.threads)) var threads: Int?

  var choice: ComputeChoice { ComputeChoice { ($0.kind, $0.threads) = (backend, threads) } }
}

/// The checkpoint that a picture is made from, and how it is loaded.
struct CheckpointOptions: ParsableArguments {
  @Argument(help: .field(\CheckpointChoice.checkpoint)) var checkpoint: String?
  @Option(help: .field(\CheckpointChoice.weights)) var weights: LoadedModel.Weights?
  @OptionGroup var compute: ComputeOptions

  var choice: CheckpointChoice {
    CheckpointChoice { ($0.checkpoint, $0.weights, $0.compute) = (checkpoint ?? "", weights, compute.choice) }
  }
}

/// Images that a verb works on.
struct ImageOptions: ParsableArguments {
  @Option(help: .field(\ImageChoice.data)) var data: String?
  @Option(parsing: .upToNextOption, help: .field(\ImageChoice.images)) var images: [String] = []
  @Option(help: .field(\ImageChoice.fit)) var fit: ImageFit?
  @Flag(help: .field(\ImageChoice.skipBroken)) var skipBroken = false

  var choice: ImageChoice {
    ImageChoice { ($0.data, $0.images, $0.fit, $0.skipBroken) = (data, images, fit, skipBroken) }
  }
}

/// A data set that a verb works on.
struct DataOptions: ParsableArguments {
  @Argument(help: .field(\DataChoice.data)) var data: String
  @Option(help: .field(\DataChoice.imageSize)) var imageSize: String?
  @Option(help: .field(\DataChoice.fit)) var fit = ImageFit.crop
  @Flag(help: .field(\DataChoice.skipBroken)) var skipBroken = false
  @Option(help: .field(\DataChoice.captionTemplate)) var captionTemplate: String?

  var choice: DataChoice {
    DataChoice {
      ($0.data, $0.imageSize, $0.fit, $0.skipBroken) = (data, imageSize, fit, skipBroken)
      $0.captionTemplate = captionTemplate
    }
  }
}

/// How to draw from a model.
struct SamplingOptionGroup: ParsableArguments {
  @Option(parsing: .unconditional, help: .field(\SamplingChoice.steps)) var steps: Int?
  @Option(help: .field(\SamplingChoice.sampler)) var sampler: String?
  @Option(parsing: .unconditional, help: .field(\SamplingChoice.eta)) var eta: Double?
  @Option(parsing: .unconditional, help: .field(\SamplingChoice.label)) var label: String?
  @Option(name: .customLong("prompt"), parsing: .unconditionalSingleValue, help: .field(\SamplingChoice.prompts))
  var prompt: [String] = []
  @Option(help: "A file of prompts, one in each line.") var prompts: String?
  @Option(parsing: .unconditional, help: .field(\SamplingChoice.negative)) var negative: String?
  @Option(parsing: .unconditional, help: .field(\SamplingChoice.guidance)) var guidance: Float?
  @Option(parsing: .unconditional, help: .field(\SamplingChoice.seed)) var seed: UInt64 = 0
  @Option(parsing: .unconditional, help: .field(\SamplingChoice.chunk)) var chunk = SamplingOptions.usualChunk

  func choice() throws -> SamplingChoice {
    let lines = try prompts.map(Self.lines) ?? []
    return SamplingChoice {
      ($0.prompts, $0.negative) = (prompt + lines, negative)
      ($0.steps, $0.sampler, $0.eta, $0.label) = (steps, sampler, eta, label)
      ($0.guidance, $0.seed, $0.chunk) = (guidance, seed, chunk)
    }
  }

  /// The lines of a file that are not empty.
  private static func lines(of path: String) throws -> [String] {
    guard let text = String(validating: try FileIO.read(path, maximumSize: 1 << 22), as: UTF8.self) else {
      throw UserError(.badData, "\(path): expected UTF-8 text, found other bytes")
    }
    let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmingPrefix(while: \.isWhitespace) }
      .filter { !$0.isEmpty }.map(String.init)
    if lines.isEmpty { throw UserError(.badData, "\(path): expected a prompt in each line, found none") }
    return lines
  }
}

/// How long to train.
struct LengthOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: .field(\TrainingLength.steps)) var steps: Int?
  @Option(parsing: .unconditional, help: .field(\TrainingLength.epochs)) var epochs: Double?
  @Option(parsing: .unconditional, help: .field(\TrainingLength.minutes)) var minutes: Double?

  var choice: TrainingLength { TrainingLength { ($0.steps, $0.epochs, $0.minutes) = (steps, epochs, minutes) } }
}

extension Precision: ExpressibleByArgument {}
extension BackendKind: ExpressibleByArgument {}
extension ImageFit: ExpressibleByArgument {}
extension LoadedModel.Weights: ExpressibleByArgument {}
