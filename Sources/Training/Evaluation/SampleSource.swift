import Foundation

/// Images that a model drew, or that came from elsewhere, as 8-bit pictures: what is judged is what would be looked at.
extension ImageDataset {
  /// Draws the first samples of a series. Where the model takes labels, theirs are those that were asked for, or all in turn.
  ///
  /// - Throws: `UserError` (usage) for options the model does not take.
  public init(
    drawing count: Int, from model: any Sampling, _ options: SamplingOptions, progress: (Double) -> Void
  ) throws {
    try model.validate(options)
    let data = model.context.data
    let classes = data.classNames.count
    let takesLabels = classes > 0 && (try? model.validate(SamplingOptions(labels: [0]))) != nil
    var pixels: [UInt8] = []
    pixels.reserveCapacity(data.shape(count).count)
    // Floats of all samples at once would be four times as large as the pictures.
    for start in stride(from: 0, to: count, by: 1024) {
      let range = start..<min(start + 1024, count)
      pixels += try model.sample(range, options) { share in
        progress((Double(start) + share * Double(range.count)) / Double(count))
      }.levels()
    }
    self.init(
      name: "samples", source: "samples", width: data.width, height: data.height, channels: data.channels,
      pixels: pixels, labels: takesLabels ? options.labels(of: 0..<count, classes) : nil,
      classNames: data.classNames)
  }

  /// Images of a NumPy array `[N, H, W, C]` or `[N, H, W]`, C being 1 or 3: float32 from 0 to 1, or uint8.
  ///
  /// Single numbers outside of 0…1 are clipped.
  ///
  /// - Throws: `UserError` (bad data) for arrays of another shape, or whose numbers are not of that range.
  public init(array path: String) throws {
    let array = try NPYArray(path: path)
    let shape = array.shape.count == 3 ? array.shape + [1] : array.shape
    guard shape.count == 4, shape[3] == 1 || shape[3] == 3, shape.allSatisfy({ $0 > 0 }) else {
      let isChannelsFirst = shape.count == 4 && (shape[1] == 1 || shape[1] == 3)
      throw UserError(
        .badData, "\(path): expected an array [N, H, W, C] with 1 or 3 channels, found \(Shape(array.shape))",
        hint: isChannelsFirst ? "PyTorch's order becomes Easel's by array.transpose(0, 2, 3, 1)." : nil)
    }
    let pixels: [UInt8]
    switch array.values {
    case .uint8(let levels): pixels = levels
    case .float32(let values):
      let strays = values.filter { !($0 >= -0.05 && $0 <= 1.05) }.count
      if strays > values.count / 100 {
        let bounds = values.filter(\.isFinite)
        throw UserError(
          .badData,
          "\(path): expected numbers from 0 to 1, found \(bounds.min() ?? .nan) to \(bounds.max() ?? .nan)",
          hint: "Bring −1…1 to 0…1 by (array + 1) / 2.")
      }
      pixels = values.map(UInt8.init(level:))
    }
    self.init(
      name: "array", source: path, width: shape[2], height: shape[1], channels: shape[3], pixels: pixels)
  }

  /// The same images with a label each.
  ///
  /// - Throws: `UserError` (bad data) for a label that is no whole number below the number of classes, or for another number of
  ///   labels than of images.
  public func labelled(byArray path: String, classNames: [String]) throws -> ImageDataset {
    let array = try NPYArray(path: path)
    let numbers: [Float]
    switch array.values {
    case .uint8(let values): numbers = values.map(Float.init)
    case .float32(let values): numbers = values
    }
    guard array.shape == [count] else {
      throw UserError(.badData, "\(path): expected \(count) labels, one for each image, found \(Shape(array.shape))")
    }
    let labels = try numbers.map { number in
      guard let label = Int32(exactly: number), classNames.indices.contains(Int(label)) else {
        throw UserError(.badData, "\(path): expected labels from 0 to \(classNames.count - 1), found \(number)")
      }
      return label
    }
    return ImageDataset(
      name: name, source: source, width: width, height: height, channels: channels, pixels: pixels, labels: labels,
      classNames: classNames)
  }
}
