import EaselImages
import Testing

/// Expected sheets are worked out by hand from the definition of torchvision's `make_grid`.
@Suite struct ImageGridTests {
  private func grey(_ level: UInt8, width: Int = 2, height: Int = 1) -> Image {
    Image(width: width, height: height, channels: 1, pixels: Array(repeating: level, count: width * height))
  }

  @Test func aRaggedLastRowIsFilledWithThePadValue() {
    let grid = ImageGrid.compose([grey(1), grey(2), grey(3)], columns: 2, padding: 1, padValue: 9)
    #expect(grid.width == 7)
    #expect(grid.height == 5)
    #expect(
      grid.pixels == [
        9, 9, 9, 9, 9, 9, 9,
        9, 1, 1, 9, 2, 2, 9,
        9, 9, 9, 9, 9, 9, 9,
        9, 3, 3, 9, 9, 9, 9,
        9, 9, 9, 9, 9, 9, 9,
      ])
  }

  @Test func defaultsAreEightColumnsAndTwoBlackPixels() {
    let grid = ImageGrid.compose((0..<9).map { grey(UInt8($0 + 1), width: 28, height: 28) })
    #expect(grid.size == ImageSize(width: 8 * 30 + 2, height: 2 * 30 + 2))
    #expect(grid.pixels[0] == 0)
    #expect(grid.pixels[2 * 242 + 1] == 0)
    #expect(grid.pixels[2 * 242 + 2] == 1)
    #expect(grid.pixels[2 * 242 + 7 * 30 + 2] == 8)
    #expect(grid.pixels[32 * 242 + 2] == 9)
    #expect(grid.pixels[32 * 242 + 32] == 0)
  }

  @Test func fewerImagesThanColumnsMakeANarrowSheet() {
    let grid = ImageGrid.compose([grey(1), grey(2)], columns: 8, padding: 0)
    #expect(grid == Image(width: 4, height: 1, channels: 1, pixels: [1, 1, 2, 2]))
  }

  @Test func oneImageAloneGetsNoPadding() {
    #expect(ImageGrid.compose([grey(7)]) == grey(7))
  }

  @Test func coloursStayTogether() {
    let red = Image(width: 1, height: 1, channels: 3, pixels: [200, 1, 2])
    let blue = Image(width: 1, height: 1, channels: 3, pixels: [3, 4, 250])
    let grid = ImageGrid.compose([red, blue], columns: 1, padding: 1, padValue: 5)
    #expect(grid.size == ImageSize(width: 3, height: 5))
    #expect(Array(grid.pixels[9..<18]) == [5, 5, 5, 200, 1, 2, 5, 5, 5])
    #expect(Array(grid.pixels[27..<36]) == [5, 5, 5, 3, 4, 250, 5, 5, 5])
  }
}
