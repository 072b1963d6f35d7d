import EaselDatasets
import EaselLayers

extension Batch {
  /// The images as a tensor `[N, H, W, C]`, from 0 (darkest) to 1 (brightest), or from −1 to 1 if `signed`.
  public func tensor(signed: Bool = false, on backend: any Backend) -> Tensor {
    backend.fromBytes(
      pixels, shape: [count, height, width, channels], scale: signed ? 2 / 255 : 1 / 255, shift: signed ? -1 : 0,
      type: .float32)
  }
}

extension Tensor {
  /// Values 0 to 1 as 8-bit levels; values outside are clipped.
  public func levels() -> [UInt8] { values().map(UInt8.init(level:)) }

  /// Images `[N, H, W, C]` with values 0 to 1 as 8-bit pictures; values outside are clipped.
  public func images() -> [Image] {
    let (height, width, channels) = (shape[1], shape[2], shape[3])
    let bytes = levels()
    let size = height * width * channels
    return (0..<shape[0]).map { index in
      Image(
        width: width, height: height, channels: channels, pixels: Array(bytes[index * size..<(index + 1) * size]))
    }
  }
}

extension Batch {
  /// Pictures of one size as a batch.
  public init(_ images: [Image], labels: [Int32]? = nil) {
    guard let first = images.first else { fatalError("a batch has at least one image") }
    self.init(
      number: 0, pixels: images.flatMap(\.pixels), annotations: Annotations(labels: labels), count: images.count,
      width: first.width, height: first.height, channels: first.channels)
  }
}

extension UInt8 {
  /// The 8-bit level of a value from 0 to 1; values outside are clipped, and NaN becomes 0.
  public init(level value: Float) {
    self = UInt8(Swift.max(0, Swift.min(255, (value.isNaN ? 0 : value) * 255)).rounded())
  }
}

extension Insets {
  /// The border, as even as possible, that brings images of a size to sides that are multiples of a number.
  init(bringing size: (height: Int, width: Int), toMultiplesOf multiple: Int) {
    let rows = (multiple - size.height % multiple) % multiple
    let columns = (multiple - size.width % multiple) % multiple
    self.init(top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2)
  }
}
