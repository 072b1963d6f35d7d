import EaselKit
import Foundation

/// Samples' way from pictures to figures and a sheet.
struct SampleJudge {
  let extractor: any FeatureExtractor
  let splits: DatasetSplits
  let options: EvaluationOptions
  let backend: any Backend
  let path: String
  let json: Bool

  private struct Report: Encodable {
    var output: String
    var checkpoint, hash: String?
    /// How the samples were drawn, or where they came from.
    var samples: [String: String]
    var evaluation: SampleEvaluation
    var seconds: Double
  }

  /// Judges samples, writes the sheet, and prints figures and the sheet's path.
  func finish(
    _ samples: ImageDataset, drawing: [(String, String)], loaded: LoadedModel?, start: Date
  ) throws {
    let bar = ProgressBar()
    let evaluation = try SampleEvaluation(samples, data: splits, by: extractor, options, on: backend) {
      bar.show($0, $1)
    }
    let columns = evaluation.sheet.first?.count ?? 1
    var recipe = Recipe(verb: "evaluate", loaded: loaded, settings: drawing.map { (key: $0.0, value: $0.1) })
    recipe.settings += [
      (key: "Rows", value: "samples; nearest training and held-out images by pixels; the same by features"),
      (key: "Features", value: evaluation.extractor.name), (key: "Data", value: evaluation.data),
    ]
    try makeFolder(for: path)
    try ImageGrid.compose(evaluation.sheet.flatMap { $0 }, columns: columns).write(to: path, text: recipe.text)
    let seconds = Date().timeIntervalSince(start)
    if json {
      return try Console.print(
        json: Report(
          output: path, checkpoint: loaded?.checkpoint.path, hash: loaded?.modelHash,
          samples: Dictionary(drawing.map { ($0.0.lowercased(), $0.1) }, uniquingKeysWith: { $1 }),
          evaluation: evaluation, seconds: seconds))
    }
    Console.print(text: evaluation.text)
    Console.print("samples    " + drawing.map { "\($0.0) \($0.1)" }.joined(separator: ", "))
    Console.note("\(duration(seconds)) in all")
    Console.print(path: path)
  }
}

/// What held-out images tell of a model, for `--json`.
struct HeldOutReport: Encodable {
  var checkpoint, hash, data: String
  var likelihood: LikelihoodEvaluation?
  var classification: ClassificationEvaluation?
  var probes: [LinearProbe]?

  init(
    _ loaded: LoadedModel, data: String, likelihood: LikelihoodEvaluation? = nil,
    classification: ClassificationEvaluation? = nil, probes: [LinearProbe]? = nil
  ) {
    (checkpoint, hash, self.data) = (loaded.checkpoint.path, loaded.modelHash, data)
    (self.likelihood, self.classification, self.probes) = (likelihood, classification, probes)
  }
}

extension Double {
  /// With four significant digits.
  fileprivate var significant: String { String(format: "%.4g", self) }

  /// As a percentage.
  fileprivate var share: String { "\((100 * self).formatted(1)) %" }
}

extension Estimate {
  /// Value and bounds, each with so many digits after the point; nil for four significant ones.
  fileprivate func cells(_ digits: Int? = nil, scale: Double = 1) -> [String] {
    func text(_ value: Double) -> String { digits.map { (scale * value).formatted($0) } ?? (scale * value).significant }
    return [text(value), "\(text(low)) to \(text(high))"]
  }
}

extension SampleEvaluation {
  /// Figures of samples beside those of held-out images, and what they depend on.
  var text: String {
    func row(_ name: String, _ samples: [String], _ floor: [String]?) -> [String] {
      [name] + samples + (floor ?? ["–", ""])
    }
    func row(_ name: String, _ digits: Int?, scale: Double = 1, _ figure: (SampleFigures) -> Estimate) -> [String] {
      row(
        name, figure(samples).cells(digits, scale: scale), floor.map { figure($0).cells(digits, scale: scale) })
    }
    func spread(_ kernel: KernelDistance) -> [String] {
      [(1000 * kernel.subsetMean).significant, "± \((1000 * kernel.subsetSpread).significant)"]
    }
    var rows = [
      row("Fréchet distance", nil) { $0.frechet },
      row("kernel distance × 1000", nil, scale: 1000) { $0.kernel.all },
      row(
        "in \(samples.kernel.subsets) subsets of \(samples.kernel.subsetSize)", spread(samples.kernel),
        floor.map { spread($0.kernel) }),
      row("precision (k = \(NeighbourhoodFigures.manifoldNeighbours))", 3) { $0.neighbourhoods.precision },
      row("recall (k = \(NeighbourhoodFigures.manifoldNeighbours))", 3) { $0.neighbourhoods.recall },
      row("density (k = \(NeighbourhoodFigures.coverageNeighbours))", 3) { $0.neighbourhoods.density },
      row("coverage (k = \(NeighbourhoodFigures.coverageNeighbours))", 3) { $0.neighbourhoods.coverage },
    ]
    if let classes, let accuracy = classes.labelAccuracy {
      rows.append(row("label accuracy", accuracy.cells(3), classes.floorLabelAccuracy?.cells(3)))
    }
    let floorCount = floor.map { "\($0.count)" } ?? "too few"
    var parts = [
      Console.table(
        ["", "\(samples.count) samples", "95 %", "\(floorCount) held-out", "95 %"], rows, rightAlignedFrom: 1)
    ]
    if let classes {
      let rows = classes.names.indices.map {
        [classes.names[$0], classes.shares[$0].share, classes.floorShares[$0].share]
      }
      parts.append(
        Console.table(["taken for", "samples", "held-out"], rows, rightAlignedFrom: 1)
          + "\nentropy \(classes.entropy.formatted(3)) of at most \(log(Double(classes.names.count)).formatted(3)) nats, "
          + "smallest share \(classes.smallestShare.share)")
    }
    func memory(_ name: String, _ memory: Memorization) -> [String] {
      [name] + memory.share.cells(3) + [memory.trainingDistance.significant, memory.heldOutDistance.significant]
    }
    parts.append(
      Console.table(
        ["nearer to training images", "share", "95 %", "distance", "to held-out"],
        [memory("by pixels", self.memory.pixels), memory("by features", self.memory.features)], rightAlignedFrom: 1)
        + "\n\(self.memory.trainingImages) training and \(self.memory.heldOutImages) held-out images; a model that knows none "
        + "by heart has \(self.memory.pixels.expected.formatted(3))")
    parts.append(
      """
      data       \(data)
      reference  \(reference)
      features   \(extractor.name), \(extractor.dimensions) numbers; resize: \(extractor.resize)
      intervals  \(resamples) resamples, seed \(seed); of the points that a figure is a mean over, or of the samples
      """)
    return parts.joined(separator: "\n\n")
  }
}

extension LikelihoodEvaluation {
  func text(data: String) -> String {
    let rows = figures.sorted { $0.key < $1.key }.map {
      [$0.key, $0.value.mean.formatted(3), "± \($0.value.standardError.formatted(3))"]
    }
    return Console.table(["", "mean", "standard error"], rows, rightAlignedFrom: 1)
      + "\n\n\(images) held-out images of \(data)"
      + (importanceSamples.map { "; \($0) importance samples an image" } ?? "")
  }
}

extension ClassificationEvaluation {
  func text(data: String) -> String {
    Console.table(
      ["class", "recognised"], zip(classNames, recall).map { [$0.0, $0.1.share] }, rightAlignedFrom: 1)
      + "\n\naccuracy \(accuracy.value.share), 95 %: \(accuracy.low.share) to \(accuracy.high.share); \(images) "
      + "held-out images of \(data)"
  }
}

extension ProbeEvaluation {
  var text: String {
    let rows = probes.map {
      [
        $0.name, String($0.dimensions), $0.accuracy.value.share,
        "\($0.accuracy.low.share) to \($0.accuracy.high.share)",
        $0.trainingAccuracy.share, String(format: "%g", $0.penalty),
      ]
    }
    let images = probes.first.map { "\($0.trainingImages) training and \($0.testImages) held-out images of \(data)" }
    return Console.table(
      ["features", "numbers", "accuracy", "95 %", "in training", "penalty"], rows, rightAlignedFrom: 1)
      + "\n\n\(images ?? "")"
  }
}
