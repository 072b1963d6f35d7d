import EaselSupport
import Foundation

/// Finds the pictures of some data that are nearest to a text or to a picture.
public struct SearchRequest: PictureRequest {
  public typealias Capability = any ImageTextEmbedding

  public static let name = "search"
  public static let summary = "Find the pictures that a text describes, or that are like a picture."

  public var source = CheckpointChoice()
  /// What the pictures should show.
  public var prompt: String?
  /// A picture that they should be like, instead.
  public var image: String?
  /// The SHA-256 that it must have, as in ``ImageChoice``; nil for any.
  public var imageFingerprint: String?
  /// The pictures that are searched.
  public var input = ImageChoice()
  public var count = 16
  public var columns = 8

  public init() {}

  public static let fields: [Field<SearchRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("prompt", \.prompt, "The text that describes the pictures to find."),
      Field("image", \.image, "A picture instead, to find others like it."),
      Field("image-sha256", \.imageFingerprint, "The SHA-256 that it must have (default: any)."),
      Field("data", \.input.data, "The data set to search, all of it (default: the run's own)."),
      Field("images", \.input.images, "Image files to search instead, or folders of them."),
    ] + ImageChoice.fields.filter { !["data", "images"].contains($0.key) }.map { $0.at(\.input) } + [
      Field("count", \.count, .from(1, to: 10_000), "How many pictures to show."),
      Field("columns", \.columns, .from(1, to: 1000), "Pictures in a row of the sheet."),
    ]

  public func check(_ check: inout FieldCheck) {
    check.require(
      (prompt == nil) != (image == nil),
      "expected a text or \(field: "image"), found \(prompt == nil ? "neither" : "both")")
    check.require(imageFingerprint == nil || image != nil, "\(field: "image-sha256") belongs to \(field: "image")")
  }

  public func answer(_ job: Job<any ImageTextEmbedding>) throws -> PictureAnswer {
    let chosen = try input.load(job.work, for: job.loaded, of: .all)
    guard let first = chosen.images.first else {
      throw UserError(.usage, "there are no pictures to search in \(chosen.source)")
    }
    var request = self
    let query = try query(job, &request.imageFingerprint)
    let vectors = try job.model.embed(
      ImageDataset(
        name: chosen.source, source: chosen.source, width: first.width, height: first.height, channels: first.channels,
        pixels: chosen.images.flatMap(\.pixels)), progress: job.work.progress("searching"))
    let nearness = query.similarities(to: vectors)[0]
    // The first of equally near ones comes first.
    let found = nearness.indices.sorted { (nearness[$1], $0) < (nearness[$0], $1) }.prefix(count)

    request.input = input.resolved(chosen)
    var answer = job.picture(
      found.map { chosen.images[$0] }, columns: columns, request,
      [
        ("Prompt", prompt.map(\.debugDescription)), ("Image", image), ("Images", chosen.source),
        ("Similarities", found.map { String(format: "%.3f", nearness[$0]) }.joined(separator: " ")),
      ].compactMap { key, value in value.map { (key, $0) } })
    answer.names = found.map { chosen.names[$0] }
    for (place, number) in found.enumerated() { answer.figures["similarity-\(place + 1)"] = Double(nearness[number]) }
    return answer
  }

  /// The unit vector of what is searched for, `[1, E]`.
  ///
  /// - Parameter fingerprint: becomes the picture's, if it is one.
  private func query(_ job: Job<any ImageTextEmbedding>, _ fingerprint: inout String?) throws -> Tensor {
    guard let image else {
      if let remark = job.model.remark(on: prompt ?? "") { job.work.remark(remark) }
      return job.model.embed(texts: [prompt ?? ""])
    }
    let choice = ImageChoice { ($0.images, $0.fit, $0.fingerprint) = ([image], input.fit, imageFingerprint) }
    let chosen = try choice.load(job.work, for: job.loaded)
    fingerprint = chosen.fingerprint
    return job.model.embed(images: chosen.tensor(for: job.model))
  }
}
