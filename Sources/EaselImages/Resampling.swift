extension Image {
  /// The picture at another size, by Pillow's antialiased bilinear filter (`Image.resize(size, BILINEAR)`).
  ///
  /// The filter is a triangle. If the picture shrinks, the triangle widens with the scale, so that every pixel
  /// contributes.
  public func resized(width: Int, height: Int) -> Image {
    resampled(
      columns: Span(start: 0, end: Float(self.width)), rows: Span(start: 0, end: Float(self.height)),
      width: width, height: height)
  }

  /// Scales the picture until it covers the size, and keeps its middle (Pillow's `ImageOps.fit` with `BILINEAR`).
  ///
  /// What is cut off is never computed: a strip of any proportions costs only its own pixels.
  public func fitted(width: Int, height: Int) -> Image {
    let ratio = Double(self.width) / Double(self.height)
    let wantedRatio = Double(width) / Double(height)
    var columns = Double(self.width)
    var rows = Double(self.height)
    if ratio >= wantedRatio { columns = wantedRatio * rows } else { rows = columns / wantedRatio }
    return resampled(
      columns: Span(middle: columns, of: self.width), rows: Span(middle: rows, of: self.height),
      width: width, height: height)
  }

  /// Two passes, columns first, with 8-bit rows between them: bit for bit the result of Pillow up to version 12.
  private func resampled(columns: Span, rows: Span, width: Int, height: Int) -> Image {
    guard width > 0, height > 0 else { fatalError("Image: cannot resize to \(width)×\(height)") }
    let horizontal = ResamplingWeights(source: self.width, span: columns, target: width)
    let vertical = ResamplingWeights(source: self.height, span: rows, target: height)
    let neededRows = vertical.sourceRange
    let narrowed = [UInt8](unsafeUninitializedCapacity: neededRows.count * width * channels) { target, count in
      pixels.withUnsafeBufferPointer { source in
        for row in neededRows {
          horizontal.apply(
            source: source[(row * self.width * channels)...], stride: channels,
            target: &target, at: (row - neededRows.lowerBound) * width * channels, targetStride: channels,
            lanes: channels)
        }
      }
      count = neededRows.count * width * channels
    }
    let resampled = [UInt8](unsafeUninitializedCapacity: height * width * channels) { target, count in
      narrowed.withUnsafeBufferPointer { source in
        vertical.apply(
          source: source[...], sourceOffset: neededRows.lowerBound, stride: width * channels,
          target: &target, at: 0, targetStride: width * channels, lanes: width * channels)
      }
      count = height * width * channels
    }
    return Image(width: width, height: height, channels: channels, pixels: resampled)
  }
}

/// A span of one axis in source pixels, in single precision like Pillow's boxes.
private struct Span {
  let start: Float
  let end: Float

  init(start: Float, end: Float) {
    self.start = start
    self.end = end
  }

  init(middle length: Double, of whole: Int) {
    let start = (Double(whole) - length) * 0.5
    self.init(start: Float(start), end: Float(start + length))
  }
}

/// The weights of one axis: target position `i` is a weighted sum of `counts[i]` source positions from `starts[i]`.
private struct ResamplingWeights {
  /// Fraction bits of a weight; of 32 bits, 8 remain for the pixel and 2 as headroom.
  private static let precisionBits = 22

  private var starts: [Int] = []
  private var counts: [Int] = []
  private var weights: [Int32] = []

  init(source: Int, span: Span, target: Int) {
    let scale = Double(span.end - span.start) / Double(target)
    let filterScale = max(scale, 1)
    let support = filterScale  // The triangle reaches one pixel, or its scaled width.
    for position in 0..<target {
      let center = Double(span.start) + (Double(position) + 0.5) * scale
      let first = max(Int(center - support + 0.5), 0)
      let end = min(Int(center + support + 0.5), source)
      let triangle = (first..<end).map { max(0, 1 - abs((Double($0) - center + 0.5) / filterScale)) }
      let sum = triangle.reduce(0, +)
      starts.append(first)
      counts.append(triangle.count)
      weights += triangle.map { Int32(($0 / sum * Double(1 << Self.precisionBits)).rounded(.toNearestOrAwayFromZero)) }
    }
  }

  /// The source positions that any target position needs.
  var sourceRange: Range<Int> {
    let lower = starts.min() ?? 0
    let upper = zip(starts, counts).map { $0 + $1 }.max() ?? 0
    return lower..<upper
  }

  /// Writes all target positions. Each position is `lanes` bytes wide and `stride` bytes from the next.
  func apply(
    source: Slice<UnsafeBufferPointer<UInt8>>, sourceOffset: Int = 0, stride: Int,
    target: inout UnsafeMutableBufferPointer<UInt8>, at targetStart: Int, targetStride: Int, lanes: Int
  ) {
    var weightStart = 0
    for position in starts.indices {
      let sourceStart = source.startIndex + (starts[position] - sourceOffset) * stride
      for lane in 0..<lanes {
        var sum = Int32(1) << Int32(Self.precisionBits - 1)
        for tap in 0..<counts[position] {
          sum &+= Int32(source[sourceStart + tap * stride + lane]) &* weights[weightStart + tap]
        }
        let level = UInt8(clamping: sum >> Int32(Self.precisionBits))
        target.initializeElement(at: targetStart + position * targetStride + lane, to: level)
      }
      weightStart += counts[position]
    }
  }
}
