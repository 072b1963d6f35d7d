import EaselSupport
import EaselTraining
import Foundation
import Testing

/// Pictures in three classes of different brightness, with noise: no two are alike.
func noisyImages(
  _ count: Int, seed: UInt64, width: Int = 6, height: Int = 5, channels: Int = 1, classes: [String] = ["a", "b", "c"]
) -> ImageDataset {
  var generator = StreamGenerator(seed: seed, stream: .data)
  let labels = (0..<count).map { Int32($0 % max(1, classes.count)) }
  let pixels = labels.flatMap { label in
    (0..<width * height * channels).map { _ in UInt8(60 * Int(label) + generator.uniform(below: 80)) }
  }
  return ImageDataset(
    name: "noise", source: "a test", width: width, height: height, channels: channels, pixels: pixels,
    annotations: Annotations(labels: classes.isEmpty ? nil : labels), classNames: classes)
}

/// A model without a network: every pixel of image k of a series encodes k, the label and the seed.
final class ToyModel: Sampling, LikelihoodBounding {
  let context: ModelContext
  let components: [Component] = []
  private let isConditional: Bool
  var conditionKind: ConditionKind { isConditional ? .classes : .nothing }

  init(on backend: any Backend, conditional: Bool, classes: [String] = ["a", "b", "c"]) {
    isConditional = conditional
    context = ModelContext(
      backend: backend, type: .float32, seed: 0,
      data: DataDescription(width: 2, height: 1, channels: 1, classNames: classes))
  }

  func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics { [:] }
  func validationLoss(_ batch: Batch) -> Float { 0 }
  func benchmarkPass(_ batch: Batch) {}

  func validate(_ options: SamplingOptions) throws {
    if options.conditions != nil, !isConditional { throw UserError(.usage, "no labels") }
  }

  func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor {
    try validate(options)
    try progress(1)
    let values = range.flatMap { index -> [Float] in
      let label = isConditional ? options.conditions?[0].label ?? index % context.data.classNames.count : 9
      return [Float(index % 256) / 255, Float(10 * label + Int(options.seed)) / 255]
    }
    return Tensor(values, shape: [range.count, 1, 2, 1], on: context.backend)
  }

  func description(of options: SamplingOptions) -> [(key: String, value: String)] { [] }

  func likelihood(
    _ images: Batch, importanceSamples: Int?, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> [String: [Double]] {
    let levels = (0..<images.count).map { Double(images.pixels[$0 * images.pixels.count / images.count]) }
    return ["first-level": levels, "samples": levels.map { _ in Double(importanceSamples ?? 0) }]
  }
}
