import CEaselKernels

extension HostBackend {
  public func addRow(_ x: Tensor, _ row: Tensor) -> Tensor {
    let y = empty(x.shape, x.type)
    let (rows, columns) = matrix(x)
    require(row.count == columns, "row \(row.shape) for \(x.shape)")
    let kernel = typed(x.type).add_row
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, x.at(first), row.floats, y.at(first))
    }
    return y
  }

  public func scaledSum(_ a: Tensor, by alpha: Tensor, _ b: Tensor?, by beta: Tensor?) -> Tensor {
    let y = empty(a.shape, a.type)
    let (count, size) = samples(a)
    require((b == nil) == (beta == nil), "a second tensor and its weights come together")
    require(alpha.count == count && (beta?.count ?? count) == count, "weights \(alpha.shape) for \(a.shape)")
    require((b?.shape ?? a.shape) == a.shape && (b?.type ?? a.type) == a.type, "\(a.shape) mixed with another shape")
    let kernel = typed(a.type).scale_rows
    forEachRow(count, size) { range, _ in
      let (row, first) = (range.lowerBound, range.lowerBound * size)
      kernel(
        range.count, size, alpha.floats + row, a.at(first), beta.map { $0.floats + row }, b?.at(first), y.at(first))
    }
    return y
  }

  public func sumRows(_ x: Tensor, into sums: Tensor) {
    let (rows, columns) = matrix(x)
    require(sums.count == columns, "sums \(sums.shape) of \(x.shape)")
    let kernel = typed(x.type).sum_columns
    sumByPart(of: columns, over: rows, grain: max(1, elementGrain / max(1, columns)), into: [sums]) {
      range, _, partial in
      kernel(range.count, columns, x.at(range.lowerBound * columns), partial(0))
    }
  }

  public func sumSamples(_ x: Tensor) -> Tensor {
    let (count, size) = samples(x)
    let sums = empty([count], .float32)
    let kernel = typed(x.type).sum_rows
    forEachRow(count, size) { range, _ in
      kernel(range.count, size, x.at(range.lowerBound * size), sums.floats + range.lowerBound)
    }
    return sums
  }

  public func concatenate(_ parts: [Tensor]) -> Tensor {
    require(!parts.isEmpty, "nothing to concatenate")
    let columns = parts.reduce(0) { $0 + $1.shape.last }
    let y = empty(parts[0].shape.replacingLast(with: columns), parts[0].type)
    let rows = matrix(y).rows
    let kernel = typed(y.type).copy_rows
    for part in parts {
      // A part without channels has no rows to count.
      require(
        (matrix(part).rows == rows || part.shape.last == 0) && part.type == y.type,
        "\(part.shape) beside \(parts[0].shape)")
    }
    forEachRow(rows, columns) { range, _ in
      var start = 0
      for part in parts {
        let width = part.shape.last
        kernel(
          range.count, width, part.at(range.lowerBound * width), width, y.at(range.lowerBound * columns + start),
          columns, false)
        start += width
      }
    }
    return y
  }

  public func slice(_ x: Tensor, _ range: Range<Int>) -> Tensor {
    let (rows, columns) = matrix(x)
    require(range.lowerBound >= 0 && range.upperBound <= columns, "channels \(range) of \(x.shape)")
    let y = empty(x.shape.replacingLast(with: range.count), x.type)
    let kernel = typed(x.type).copy_rows
    forEachRow(rows, range.count) { part, _ in
      kernel(
        part.count, range.count, x.at(part.lowerBound * columns + range.lowerBound), columns,
        y.at(part.lowerBound * range.count), range.count, false)
    }
    return y
  }

  public func gather(_ table: Tensor, _ indices: Tensor, type: ScalarType) -> Tensor {
    let columns = table.shape[1]
    let y = empty([indices.count, columns], type)
    typed(type).gather(indices.count, columns, table.floats, checkedIndices(indices, below: table.shape[0]), y.pointer)
    return y
  }

  public func scatterAdd(_ dy: Tensor, _ indices: Tensor, into table: Tensor) {
    // On one thread, since two samples may add to the same row.
    typed(dy.type).scatter_add(
      indices.count, table.shape[1], dy.pointer, checkedIndices(indices, below: table.shape[0]), table.floats)
  }

  public func gatherTokens(_ x: Tensor, _ indices: Tensor, filler: Tensor?) -> Tensor {
    let (samples, tokens, columns) = tokenSizes(x, indices)
    require(filler.map { $0.count == columns } ?? true, "a filler for \(x.shape)")
    let count = indices.shape[1]
    let y = empty([samples, count, columns], x.type)
    let places = checkedIndices(indices, below: tokens)
    let kernel = typed(x.type).gather_rows
    forEachRow(samples, count * columns) { range, _ in
      for n in range {
        kernel(
          count, columns, x.at(n * tokens * columns), places + n * count, filler?.floats, y.at(n * count * columns))
      }
    }
    return y
  }

  public func gatherTokensGradient(_ dy: Tensor, _ indices: Tensor, count: Int, fillerGradient: Tensor?) -> Tensor {
    let (samples, chosen, columns) = tokenSizes(dy, indices)
    require(indices.shape[1] == chosen, "indices \(indices.shape) of \(dy.shape)")
    let dx = empty([samples, count, columns], dy.type)
    let places = checkedIndices(indices, below: count)
    let kernel = typed(dy.type).scatter_rows
    let grain = max(1, elementGrain / max(1, chosen * columns))
    sumByPart(of: columns, over: samples, grain: grain, into: [fillerGradient].compactMap { $0 }) {
      range, _, partial in
      for n in range {
        kernel(
          count, chosen, columns, dy.at(n * chosen * columns), places + n * chosen, dx.at(n * count * columns),
          fillerGradient.map { _ in partial(0) })
      }
    }
    return dx
  }

  private func tokenSizes(_ x: Tensor, _ indices: Tensor) -> (samples: Int, tokens: Int, columns: Int) {
    require(
      x.rank == 3 && indices.rank == 2 && indices.shape[0] == x.shape[0], "tokens \(indices.shape) of \(x.shape)")
    return (x.shape[0], x.shape[1], x.shape[2])
  }

  public func patches(_ images: Tensor, size: Int) -> Tensor {
    let grid = PatchGrid(images.shape, size)
    let patches = empty([grid.samples, grid.rows * grid.columns, size * grid.line], images.type)
    let kernel = typed(images.type).copy_rows
    forEachPatch(grid) { place, image in
      kernel(size, grid.line, images.at(image), grid.stride, patches.at(place), grid.line, false)
    }
    return patches
  }

  public func joinPatches(_ patches: Tensor, size: Int, height: Int, width: Int) -> Tensor {
    require(patches.rank == 3 && patches.shape[2] % (size * size) == 0, "\(patches.shape) as patches of \(size)")
    let images = empty([patches.shape[0], height, width, patches.shape[2] / (size * size)], patches.type)
    let grid = PatchGrid(images.shape, size)
    require(grid.rows * grid.columns == patches.shape[1], "\(patches.shape) as images of \(height)×\(width)")
    let kernel = typed(images.type).copy_rows
    forEachPatch(grid) { place, image in
      kernel(size, grid.line, patches.at(place), grid.line, images.at(image), grid.stride, false)
    }
    return images
  }

  /// How images divide into patches.
  private struct PatchGrid {
    let samples, rows, columns: Int
    /// Elements of a row of a patch, and of an image.
    let line, stride: Int
    let size: Int

    init(_ images: Shape, _ size: Int) {
      require(
        images.rank == 4 && images[1] % size == 0 && images[2] % size == 0, "\(images) in patches of \(size) pixels")
      (samples, rows, columns) = (images[0], images[1] / size, images[2] / size)
      (line, stride) = (size * images[3], images[2] * images[3])
      self.size = size
    }
  }

  /// Calls `body` with the first element of each patch by itself, and in its image.
  private func forEachPatch(_ grid: PatchGrid, _ body: (Int, Int) -> Void) {
    let lines = grid.samples * grid.rows
    forEachRow(lines, grid.size * grid.stride) { range, _ in
      for line in range {
        for column in 0..<grid.columns {
          let patch = line * grid.columns + column
          body(patch * grid.size * grid.line, line * grid.size * grid.stride + column * grid.line)
        }
      }
    }
  }

  private func checkedIndices(_ indices: Tensor, below limit: Int) -> UnsafePointer<Int32> {
    require(indices.type == .int32, "indices are int32, not \(indices.type)")
    let values = UnsafeBufferPointer(start: indices.pointer.assumingMemoryBound(to: Int32.self), count: indices.count)
    require(values.allSatisfy { $0 < limit }, "an index is not below \(limit)")
    return UnsafePointer(indices.pointer.assumingMemoryBound(to: Int32.self))
  }
}
