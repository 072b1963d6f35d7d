import EaselKit
import Foundation

/// Prints an evaluation's results as tables or as JSON.
extension EvaluateAnswer {
  private struct SampleReport: Encodable {
    var output: String
    var checkpoint, hash: String?
    /// How the samples were drawn, or where they came from.
    var samples: [String: String]
    var evaluation: SampleEvaluation
    var seconds: Double
  }

  /// What held-out images say about a model.
  private struct HeldOutReport: Encodable {
    var checkpoint, hash: String?
    var data: String
    var likelihood: LikelihoodEvaluation?
    var classification: ClassificationEvaluation?
    var template: String?
    var retrieval: RetrievalEvaluation?
    var reconstruction: ReconstructionEvaluation?
    var probes: [LinearProbe]?
    var captions: CaptionEvaluation?
    var output: String?
  }

  /// - Parameter output: where the sheet was written.
  func print(_ desk: Desk, output: String) throws {
    guard let samples else { return try printHeldOut(desk, output: output) }
    if desk.json {
      return try Console.print(
        json: SampleReport(
          output: output, checkpoint: checkpoint, hash: hash,
          samples: Dictionary(drawing.map { ($0.key.lowercased(), $0.value) }, uniquingKeysWith: { $1 }),
          evaluation: samples, seconds: desk.seconds))
    }
    Console.print(text: samples.text)
    Console.print("samples    " + drawing.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
    Console.note("\(duration(desk.seconds)) in all")
    Console.print(path: output)
  }

  private func printHeldOut(_ desk: Desk, output: String) throws {
    if desk.json {
      return try Console.print(
        json: HeldOutReport(
          checkpoint: checkpoint, hash: hash, data: data, likelihood: likelihood, classification: classification,
          template: template, retrieval: retrieval, reconstruction: reconstruction, probes: probes?.probes,
          captions: captions, output: sheet == nil ? nil : output))
    }
    let told = template.map { "; told by \($0.debugDescription)" } ?? ""
    let texts = [
      likelihood?.text(data: data), retrieval?.text(data: data), classification.map { $0.text(data: data) + told },
      reconstruction?.text(data: data), probes?.text, captions?.text,
    ].compactMap(\.self)
    if !texts.isEmpty { Console.print(text: texts.joined(separator: "\n\n")) }
    if captions != nil {
      Console.note("\(duration(desk.seconds)) in all")
      Console.print(path: output)
    }
  }
}

extension Double {
  /// With four significant digits.
  var significant: String { String(format: "%.4g", self) }

  /// As a percentage.
  fileprivate var percent: String { "\((100 * self).formatted(1)) %" }
}

extension Estimate {
  /// Value and bounds with this many digits after the point; nil for four significant ones.
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
        [classes.names[$0], classes.shares[$0].percent, classes.floorShares[$0].percent]
      }
      parts.append(
        Console.table(["taken for", "samples", "held-out"], rows, rightAlignedFrom: 1)
          + "\nentropy \(classes.entropy.formatted(3)) of at most \(log(Double(classes.names.count)).formatted(3)) nats, "
          + "smallest share \(classes.smallestShare.percent)")
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

extension ReconstructionEvaluation {
  func text(data: String) -> String {
    let rows = [("PSNR in dB", psnr, 2), ("SSIM", ssim, 4)].map { name, figure, digits in
      [name, figure.mean.formatted(digits), "± \(figure.standardError.formatted(digits))"]
    }
    return Console.table(["", "mean", "standard error"], rows, rightAlignedFrom: 1)
      + "\n\nreconstructions of \(images) held-out images of \(data)"
  }
}

extension ClassificationEvaluation {
  func text(data: String) -> String {
    Console.table(
      ["class", "recognised"], zip(classNames, recall).map { [$0.0, $0.1.percent] }, rightAlignedFrom: 1)
      + "\n\naccuracy \(accuracy.value.percent), 95 %: \(accuracy.low.percent) to \(accuracy.high.percent); \(images) "
      + "held-out images of \(data)"
  }
}

extension RetrievalEvaluation {
  func text(data: String) -> String {
    let rows = recalls.map { recall in
      func cells(_ share: Estimate) -> [String] {
        [share.value.percent, "\(share.low.percent) to \(share.high.percent)"]
      }
      return ["among the nearest \(recall.count)"] + cells(recall.textsOfImages) + cells(recall.imagesOfTexts)
        + [recall.chance.percent]
    }
    return Console.table(
      ["", "texts of images", "95 %", "images of texts", "95 %", "by chance"], rows, rightAlignedFrom: 1)
      + "\n\n\(pairs) held-out images of \(data) with different captions"
  }
}

extension ProbeEvaluation {
  var text: String {
    let rows = probes.map {
      [
        $0.name, String($0.dimensions), $0.accuracy.value.percent,
        "\($0.accuracy.low.percent) to \($0.accuracy.high.percent)",
        $0.trainingAccuracy.percent, String(format: "%g", $0.penalty),
      ]
    }
    let images = probes.first.map { "\($0.trainingImages) training and \($0.testImages) held-out images of \(data)" }
    return Console.table(
      ["features", "numbers", "accuracy", "95 %", "in training", "penalty"], rows, rightAlignedFrom: 1)
      + "\n\n\(images ?? "")"
  }
}

extension CaptionEvaluation {
  fileprivate var text: String {
    var rows: [[String]] = []
    func cell(_ estimate: Estimate, _ text: (Double) -> String) -> String {
      "\(text(estimate.value)) (\(text(estimate.low)) … \(text(estimate.high)))"
    }
    func add(_ name: String, _ figure: Figure?, _ text: (Double) -> String) {
      guard let figure else { return }
      rows.append([name] + [figure.drawn, figure.exchanged, figure.truth].map { cell($0, text) })
    }
    for shapes in [1, 2] {
      add(shapes == 1 ? "one shape as described" : "two shapes as described", scenes?[shapes], \.percent)
    }
    add("similarity", similarity, \.significant)
    if let retrieval {
      for (drawn, truth) in zip(retrieval.drawn.recalls, retrieval.truth.recalls) {
        func add(_ name: String, _ share: KeyPath<RetrievalEvaluation.Recall, Estimate>) {
          rows.append(
            [
              "\(name) among the nearest \(drawn.count)", cell(drawn[keyPath: share], \.percent),
              "\(drawn.chance.percent) by chance", cell(truth[keyPath: share], \.percent),
            ])
        }
        add("caption", \.textsOfImages)
        add("picture", \.imagesOfTexts)
      }
    }
    let counts = [1, 2].compactMap { shapes in sceneCounts?[shapes].map { "\($0) with \(shapes)" } }
    return Console.table(
      ["\(captions) captions of \(data)", "drawn", "exchanged", "true pictures"], rows, rightAlignedFrom: 1)
      + (counts.isEmpty ? "" : "\nshapes     " + counts.joined(separator: ", "))
      + (judge.map { "\njudge      " + $0 } ?? "")
  }
}
