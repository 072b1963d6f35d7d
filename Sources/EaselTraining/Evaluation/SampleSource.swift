import EaselSupport
import Foundation

/// Images that a model drew, or that come from elsewhere, as 8-bit pictures, so that what is judged is what people
/// would see.
extension ImageDataset {
  /// Draws the first samples of a series. If the model takes labels, they are those that were asked for, or all in
  /// turn.
  ///
  /// - Throws: `UserError` (usage) if the model does not take the options.
  public init(
    drawing count: Int, from model: any Sampling, _ options: SamplingOptions, progress: (Double) throws -> Void
  ) throws {
    try model.validate(options)
    let data = model.context.data
    let labels = options.conditions(of: 0..<count, model.conditionKind, in: data).compactMap {
      $0.label.map(Int32.init)
    }
    var pixels: [UInt8] = []
    pixels.reserveCapacity(data.shape(count).count)
    // The floats of all samples at once would be four times as large as the pictures.
    for start in stride(from: 0, to: count, by: 1024) {
      let range = start..<min(start + 1024, count)
      pixels += try model.sample(range, options) { fraction in
        try progress((Double(start) + fraction * Double(range.count)) / Double(count))
      }.levels()
    }
    self.init(
      name: "samples", source: "samples", width: data.width, height: data.height, channels: data.channels,
      pixels: pixels,
      annotations: Annotations(labels: model.conditionKind == .classes && labels.count == count ? labels : nil),
      classNames: data.classNames)
  }

  /// Images of a NumPy array `[N, H, W, C]` or `[N, H, W]`, with C 1 or 3: floating-point numbers from 0 to 1, or whole
  /// numbers from 0 to 255.
  ///
  /// Slight overshoots of a model's last layer (a few numbers up to 1 outside 0…1) are clipped.
  ///
  /// - Throws: `UserError` (bad data) for arrays of another shape, or with numbers outside that range.
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
    case .integers(let values):
      pixels = try values.enumerated().map { place, value in
        guard let level = UInt8(exactly: value) else {
          throw UserError(
            .badData, "\(path): expected levels from 0 to 255, found \(value) at \(array.index(of: place))")
        }
        return level
      }
    case .float32(let values):
      try Self.checkRange(of: values, in: array, path)
      pixels = values.map(UInt8.init(level:))
    }
    self.init(
      name: "array", source: path, width: shape[2], height: shape[1], channels: shape[3], pixels: pixels)
  }

  /// - Throws: `UserError` (bad data) unless numbers are from 0 to 1, apart from slight overshoots.
  private static func checkRange(of values: [Float], in array: NPYArray, _ path: String) throws {
    if let place = values.firstIndex(where: { !$0.isFinite }) {
      throw UserError(
        .badData, "\(path): expected numbers from 0 to 1, found \(values[place]) at \(array.index(of: place))",
        hint: "A model that has not learned, or arithmetic that overflows, makes such numbers.")
    }
    func isFar(_ value: Float) -> Bool { !(-1...2).contains(value) }
    let strays = values.count { !(-0.05...1.05).contains($0) }
    guard let (low, high) = values.isEmpty ? nil : (values.min() ?? 0, values.max() ?? 0),
      strays > values.count / 100 || isFar(low) || isFar(high)
    else { return }
    let place = values.firstIndex(where: isFar) ?? values.firstIndex { !(-0.05...1.05).contains($0) } ?? 0
    let advice =
      if low >= 0, high > 2, high <= 255 {
        "Bring 0…255 to 0…1 by array / 255, or write array.astype(\"uint8\")."
      } else if low >= -1.5, low < -0.05, high <= 1.5 {
        "Bring −1…1 to 0…1 by (array + 1) / 2."
      } else {
        "Bring the numbers to 0…1, or clip those that are outside."
      }
    throw UserError(
      .badData,
      "\(path): expected numbers from 0 to 1, found \(low) to \(high), the first outside at \(array.index(of: place))",
      hint: advice)
  }

  /// The same images with one label each.
  ///
  /// - Throws: `UserError` (bad data) if a label is no whole number below the number of classes, or if there are not as
  ///   many labels as images.
  public func labelled(byArray path: String, classNames: [String]) throws -> ImageDataset {
    let array = try NPYArray(path: path)
    let numbers: [Double]
    switch array.values {
    case .uint8(let values): numbers = values.map(Double.init)
    case .integers(let values): numbers = values.map(Double.init)
    case .float32(let values): numbers = values.map(Double.init)
    }
    guard array.shape == [count] else {
      throw UserError(.badData, "\(path): expected \(count) labels, one for each image, found \(Shape(array.shape))")
    }
    let labels = try numbers.enumerated().map { place, number in
      guard let label = Int32(exactly: number), classNames.indices.contains(Int(label)) else {
        throw UserError(
          .badData,
          "\(path): expected labels from 0 to \(classNames.count - 1), found \(number) at \(array.index(of: place))")
      }
      return label
    }
    return ImageDataset(
      name: name, source: source, width: width, height: height, channels: channels, pixels: pixels,
      annotations: Annotations(labels: labels),
      classNames: classNames)
  }
}

extension NPYArray {
  /// A value's index in NumPy's form: `[3, 0, 27, 1]`.
  fileprivate func index(of place: Int) -> [Int] {
    var rest = place
    return shape.reversed().map { extent in
      defer { rest /= extent }
      return rest % extent
    }.reversed()
  }
}
