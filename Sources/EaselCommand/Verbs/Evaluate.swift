import ArgumentParser
import EaselKit

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: EvaluateRequest.summary,
    discussion: """
      Samples are compared with training images by a classifier's features: Fréchet and kernel distance, precision, \
      recall, density and coverage, beside the same figures for held-out images. Samples may also come from elsewhere: \
      --array or --images. A sheet shows samples above their nearest training and held-out images, by pixels and by \
      features.

      With --likelihood: bounds on the likelihood of held-out images. With --probe: how well a linear classifier does \
      on the model's features, on pixels, and on an untrained model's features. With --captions: how well a model of \
      captions draws those of held-out images. A classifier is judged on held-out images, an autoencoder by its \
      reconstructions of them, and a model of texts by how often images and captions find each other and by classes \
      told in words.
      """)

  @OptionGroup var source: CheckpointOptions
  @Option(help: .field(\EvaluateRequest.array)) var array: String?
  @Option(help: .field(\EvaluateRequest.images)) var images: String?
  @Option(help: .field(\EvaluateRequest.labels)) var labels: String?
  @Option(parsing: .unconditional, help: .field(\EvaluateRequest.count)) var count: Int?
  @Option(parsing: .unconditional, help: .field(\EvaluateRequest.references)) var references: Int?
  @OptionGroup var sampling: SamplingOptionGroup
  @Option(help: .field(\EvaluateRequest.data)) var data: String?
  @Option(help: .field(\EvaluateRequest.features)) var features: EvaluateRequest.Features?
  @Option(help: .field(\EvaluateRequest.classifier)) var classifier: String?
  @Option(parsing: .unconditional, help: .field(\EvaluateRequest.dimensions)) var dimensions = 64
  @Option(parsing: .unconditional, help: .field(\EvaluateRequest.resamples)) var resamples = 200
  @Flag(help: .field(\EvaluateRequest.likelihood)) var likelihood = false

  @Option(parsing: .unconditional, help: .field(\EvaluateRequest.importanceSamples)) var importanceSamples: Int?
  @Flag(help: .field(\EvaluateRequest.probe)) var probe = false
  @Option(parsing: .unconditional, help: .field(\EvaluateRequest.probeImages)) var probeImages: Int?
  @Flag(help: .field(\EvaluateRequest.captions)) var captions = false
  @Option(help: .field(\EvaluateRequest.clip.checkpoint)) var clip: String?
  @Option(help: .field(\EvaluateRequest.template)) var captionTemplate: String?
  @Flag(help: .field(\EvaluateRequest.skipBroken)) var skipBroken = false

  @Option(help: "The sheet of samples and their neighbours (default: in Samples/, named after the run).")
  var output: String?

  @Option(help: ArgumentHelp("Repeat the evaluation of a sheet that this verb made.", valueName: "png"))
  var recipe: String?

  @OptionGroup var common: CommonOptions

  private func typed() throws -> EvaluateRequest {
    let sampling = try sampling.choice()
    return EvaluateRequest {
      ($0.source, $0.array, $0.images, $0.labels) = (source.choice, array, images, labels)
      ($0.count, $0.references, $0.sampling, $0.data) = (count, references, sampling, data)
      ($0.features, $0.classifier, $0.dimensions, $0.resamples) = (features, classifier, dimensions, resamples)
      ($0.likelihood, $0.importanceSamples, $0.probe) = (likelihood, importanceSamples, probe)
      ($0.probeImages, $0.template, $0.captions, $0.clip.checkpoint) = (probeImages, captionTemplate, captions, clip)
      $0.skipBroken = skipBroken
    }
  }

  func run() throws {
    let desk = try Desk(common)
    let typed = try typed()
    let request =
      try recipe.map {
        try desk.bench.request(from: $0) { request in
          try request.take(typed, allowing: [])
          request.source = source.choice
        }
      } ?? typed
    try request.validate(FieldCheck(namingFields: true))
    let path = output ?? desk.sample("\(request.subject)-evaluate")
    try Destination(path).check()
    let answer = try desk.bench.run(request)
    try answer.sheet?.write(to: path)
    try answer.print(desk, output: path)
  }
}

extension EvaluateRequest.Features: ExpressibleByArgument {}
