import EaselMetrics
import EaselSupport
import Foundation

/// Changes images so that a classifier takes them for something else.
public struct AttackRequest: PictureRequest {
  public typealias Capability = any Classifying

  public static let name = "attack"
  public static let summary =
    "Change images by so little that people hardly see it, so that a classifier takes them for something else."

  public var source = CheckpointChoice()
  public var input = ImageChoice()
  public var count = 8
  public var method = AdversarialAttack.Method.pgd
  /// The most that a level changes, in levels of 255.
  public var epsilon = 8.0
  /// The steps of `pgd`.
  public var steps = 20
  /// The class that images should be taken for; nil for any other than their own.
  public var target: String?
  /// Whether accuracy is drawn over strengths up to this one, in place of images.
  public var curve = false
  public var seed: UInt64 = 0

  public init() {}

  public static let fields: [Field<AttackRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("count", \.count, .from(1, to: 100_000), "How many images; for a curve, as many held-out ones at most."),
      Field("method", \.method, "fgsm takes one step along the gradient's sign, pgd many small ones."),
      Field("epsilon", \.epsilon, .from(0.01, to: 255), "The most that a level changes, in levels of 255."),
      Field("steps", \.steps, .from(1, to: 10_000), "Steps of pgd."),
      Field("target", \.target, "The class that images should be taken for (default: any but their own)."),
      Field(
        "curve", \.curve, "Draw accuracy over strengths up to epsilon instead, beside that of a linear classifier."),
      Field("seed", \.seed, "Random seed of where pgd begins."),
    ] + ImageChoice.fields.map { $0.at(\.input) }

  public func check(_ check: inout FieldCheck) {
    check.require(!curve || target == nil, "\(field: "target") does not go with \(field: "curve")")
    check.require(!curve || input.images.isEmpty, "\(field: "curve") takes labelled data, not \(field: "images")")
  }

  private func attack(isTargeted: Bool = false) -> AdversarialAttack {
    AdversarialAttack(method, epsilon: Float(epsilon / 255), steps: steps, isTargeted: isTargeted)
  }

  public func answer(_ job: Job<any Classifying>) throws -> PictureAnswer {
    try curve ? drawCurve(job) : drawImages(job)
  }

  private func settings(_ more: [(key: String, value: String)]) -> [(key: String, value: String)] {
    [("Method", method.rawValue), ("Epsilon", "\(epsilon.formatted(2))/255")]
      + (method == .pgd ? [("Steps", String(steps))] : []) + more
  }

  // MARK: Images

  private func drawImages(_ job: Job<any Classifying>) throws -> PictureAnswer {
    let (model, names) = (job.model, job.data.classNames)
    let goal = try target.map { name -> Int in
      let found = try job.data.labels(name)
      guard found.count == 1, let label = found.first, names.indices.contains(label) else {
        throw UserError(
          .usage, "\(field: "target"): expected one class, found \(name)", hint: "Known: \(job.data.numberedClasses).")
      }
      return label
    }
    let chosen = try input.load(job.work, for: job.loaded, limit: count)
    let images = chosen.tensor(for: model)
    let before = Verdict.all(of: images, model)
    // What the images show is what the classifier sees in them, right or wrong: files have no labels.
    let (attack, classes) = (attack(isTargeted: goal != nil), before.map { goal ?? $0.label })
    let changed = Chunks.map(images) { chunk, numbers in
      attack.changed(
        chunk, Array(classes[numbers]), of: names.count, by: model,
        RandomDraw(seed: seed, stream: .sampling, index: UInt64(numbers.lowerBound)))
    }
    let made = changed.images()
    // Of the pictures as they are written.
    let after = Verdict.all(of: Batch(made).tensor(on: images.backend), model)
    let amplified = job.context.backend.affine(
      job.context.backend.add(changed, images, alpha: 1, beta: -1), scale: Float(255 / (2 * epsilon)), shift: 0.5
    ).images()
    let rows = [
      zip(chosen.images, before).map { $0.captioned($1.text(names)) }, amplified.map { $0.captioned("") },
      zip(made, after).map { $0.captioned($1.text(names)) },
    ]
    let misled = before.indices.count { index in
      goal.map { after[index].label == $0 } ?? (before[index].label != after[index].label)
    }
    var request = self
    request.input = input.resolved(chosen)
    let columns = min(8, made.count)
    var answer = job.picture(
      ImageGrid.alternatingRows(rows, columns: columns), columns: columns, made: made.count,
      figures: ["misled": Double(misled) / Double(made.count)], request,
      settings([("Target", target ?? "any other class"), ("Images", chosen.source), ("Count", String(made.count))]))
    answer.names = chosen.names.indices.map { index in
      "\(chosen.names[index]): \(before[index].text(names)), then \(after[index].text(names))"
    }
    return answer
  }

  /// What a classifier takes an image for.
  private struct Verdict {
    let label: Int
    let probability: Float

    static func all(of images: Tensor, _ model: any Classifying) -> [Verdict] {
      let logits = Chunks.map(images) { chunk, _ in model.logits(chunk) }
      let classes = logits.shape.last
      let values = logits.values()
      return logits.argmax().enumerated().map { index, label in
        let row = values[index * classes..<(index + 1) * classes]
        let greatest = row.max() ?? 0
        return Verdict(label: label, probability: 1 / row.reduce(0) { $0 + exp($1 - greatest) })
      }
    }

    func text(_ names: [String]) -> String { "\(names[label]) \(Double(100 * probability).formatted(0))%" }
  }

  // MARK: Curve

  private func drawCurve(_ job: Job<any Classifying>) throws -> PictureAnswer {
    let splits = try input.splits(job.work, of: job.loaded, domain: 0)
    let shares = [0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1]
    let found = try AttackEvaluation(
      job.model, name: job.loaded.state.preset, splits, count: max(count, 2), attack(),
      epsilons: shares.map { $0 * epsilon }, bootstrap: Bootstrap(), progress: job.work.progress("attacking"))
    var plot = Plot(
      "\(method.rawValue): accuracy of \(found.images) images of \(splits.validation.name)",
      PlotAxis("epsilon in levels of 255"), PlotAxis("accuracy in %"))
    plot.curves = found.curves.map { curve in
      Plot.Curve(
        curve.classifier,
        points: curve.points.map { point in
          let accuracy = point.accuracy
          return Plot.Point(point.epsilon, 100 * accuracy.value, 100 * accuracy.low...100 * accuracy.high)
        }, isMarked: true)
    }
    var figures: [String: Double] = [:]
    for (name, curve) in zip(["network", "linear"], found.curves) {
      for point in curve.points { figures["\(name) at \(point.epsilon.formatted(2))"] = point.accuracy.value }
    }
    return job.picture(
      [plot.image()], columns: 1, made: found.images, figures: figures, self,
      settings([("Images", splits.validation.name), ("Count", String(found.images))]))
  }
}
