import EaselLayers

extension Model {
  /// What the model can do so far, with its average's weights if it has one: samples from the same noise, or results
  /// for the same images, so that pictures of different steps can be compared.
  ///
  /// - Parameters:
  ///   - images: held-out images of its first domain.
  ///   - captions: what a model of captions draws; it draws nothing in particular if there are none.
  ///   - progress: receives the share that is done, 0 to 1, from models that report it.
  /// - Returns: nil if the model makes no pictures.
  /// - Throws: `UserError` if the model's settings do not fit its own defaults.
  public func progressPicture(
    of images: [Image], captions: [String] = [], progress: (Double) throws -> Void = { _ in }
  ) throws -> Image? {
    try withAverages {
      guard let sheet = try samples(captions, progress) ?? rows(of: images, progress) else { return nil }
      return ImageGrid.compose(sheet.images, columns: sheet.columns)
    }
  }

  private typealias Sheet = (images: [Image], columns: Int)

  private func samples(_ captions: [String], _ progress: (Double) throws -> Void) throws -> Sheet? {
    guard let model = self as? any Sampling else { return nil }
    var options = SamplingOptions()
    if model.conditionKind.takesTexts, !captions.isEmpty { options.conditions = captions.map(Condition.text) }
    let columns = model.sheetColumns(options)
    return (try model.sample(0..<2 * columns, options, progress: progress).images(), columns)
  }

  private func rows(of originals: [Image], _ progress: (Double) throws -> Void) throws -> Sheet? {
    if originals.isEmpty { return nil }
    let images = Batch(originals).tensor(on: context.backend)
    let made: [[Image]]
    switch self {
    case let model as any Translating:
      made = [try model.translate(images, TranslationOptions(), progress: progress).images()]
    case let model as any Inpainting:
      let hole = try InpaintingMask(
        InpaintingMask.Pattern.randomPatches.rawValue, patch: model.inpaintingPatch ?? 4, seed: 0, in: context.data)
      let mask = hole.mask(originals.count, on: context.backend)
      made = [
        hole.shown(in: originals), try model.inpaint(images, missing: mask, seed: 0, progress: progress).images(),
      ]
    case let model as any Restoring:
      let damaged = model.corruption.apply(to: images, RandomDraw(seed: 0, stream: .sampling, draw: 1_000_000))
      made = [
        damaged.images(), try model.restore(damaged, from: model.corruption, seed: 0, progress: progress).images(),
      ]
    case let model as any ImageEncoding:
      made = [model.decode(model.encode(images)).images()]
    default: return nil
    }
    return (ImageGrid.alternatingRows([originals] + made, columns: 8), min(8, originals.count))
  }

  /// Runs work with the averages' values, if there are averages.
  private func withAverages<Result>(_ work: () throws -> Result) rethrows -> Result {
    let arenas = components.map(\.arena)
    let before = arenas.map(\.usesAverage)
    for arena in arenas { arena.usesAverage = true }
    defer { for (arena, value) in zip(arenas, before) { arena.usesAverage = value } }
    return try work()
  }
}
