/// Contact sheets: many pictures of one size in rows.
public enum ImageGrid {
  /// Arranges pictures in rows, with the same pixels as torchvision's
  /// `make_grid(images, nrow=columns, padding, pad_value)`.
  ///
  /// Each picture has `padding` pixels of `padValue` around it, shared with its neighbours. An incomplete last row is
  /// filled with `padValue`. A single picture is returned as it is. Grey pictures give a grey sheet (torchvision
  /// repeats the channel three times, which looks the same).
  ///
  /// Traps if there are no pictures, if they differ in size or channels, or if `columns` or `padding` is negative.
  public static func compose(_ images: [Image], columns: Int = 8, padding: Int = 2, padValue: UInt8 = 0) -> Image {
    guard let first = images.first, columns > 0, padding >= 0 else {
      fatalError("ImageGrid: \(images.count) images in \(columns) columns with padding \(padding)")
    }
    if images.count == 1 { return first }
    let channels = first.channels
    let usedColumns = min(columns, images.count)
    let rows = (images.count + usedColumns - 1) / usedColumns
    let cellWidth = first.width + padding
    let cellHeight = first.height + padding
    let width = cellWidth * usedColumns + padding
    let height = cellHeight * rows + padding

    var sheet = [UInt8](repeating: padValue, count: width * height * channels)
    for (index, image) in images.enumerated() {
      guard image.size == first.size, image.channels == channels else {
        fatalError("ImageGrid: image \(index) is \(image.size)×\(image.channels), the first \(first.size)×\(channels)")
      }
      let left = index % usedColumns * cellWidth + padding
      let top = index / usedColumns * cellHeight + padding
      let rowBytes = image.width * channels
      for y in 0..<image.height {
        let target = ((top + y) * width + left) * channels
        sheet.replaceSubrange(target..<target + rowBytes, with: image.pixels[y * rowBytes..<(y + 1) * rowBytes])
      }
    }
    return Image(width: width, height: height, channels: channels, pixels: sheet)
  }

  /// The rows of several sheets in turn, for a grid with the same number of columns: row 1 of each, then row 2 of each.
  /// Incomplete last rows are filled with black.
  ///
  /// - Parameters:
  ///   - sheets: the same number of pictures each, all of one size.
  ///   - columns: pictures in a row of the grid.
  public static func alternatingRows(_ sheets: [[Image]], columns: Int) -> [Image] {
    guard let count = sheets.first?.count, let first = sheets.first?.first else { return [] }
    let blank = Image(
      width: first.width, height: first.height, channels: first.channels,
      pixels: [UInt8](repeating: 0, count: first.pixels.count))
    let columns = min(columns, count)
    return stride(from: 0, to: count, by: columns).flatMap { start in
      sheets.flatMap { sheet in
        let row = Array(sheet[start..<min(start + columns, count)])
        return row + Array(repeating: blank, count: columns - row.count)
      }
    }
  }
}
