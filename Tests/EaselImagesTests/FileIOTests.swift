import EaselImages
import EaselTestSupport
import Foundation
import Testing

/// Reading whole files: only regular files are opened.
@Suite struct FileIOTests {
  @Test(
    "A pipe, a socket, a device and a folder are refused at once, whether or not anybody writes to them",
    arguments: [
      "pipe", "socket", "device", "folder",
    ])
  func whatIsNoFileIsNotOpened(_ kind: String) throws {
    let folder = try ScratchFolder()
    let path = folder.file("picture.png")
    switch kind {
    case "pipe": try #require(mkfifo(path, 0o600) == 0)
    case "socket":
      let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(descriptor) }
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
      let size = socklen_t(MemoryLayout<sockaddr_un>.size)
      let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
      }
      try #require(status == 0)
    case "device":
      try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/zero")
    default: try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }
    expectUserError(.badData, path, "expected a file, found a \(kind)") { try Image.read(path) }
    expectUserError(.badData, path, "expected a file, found a \(kind)") { try PNGText.read(path) }
  }

  @Test func linksThatLeadNowhereAreErrors() throws {
    let folder = try ScratchFolder()
    for (name, target) in [("dangling.png", "nowhere"), ("circle.png", "circle.png")] {
      try FileManager.default.createSymbolicLink(
        atPath: folder.file(name), withDestinationPath: folder.file(target))
    }
    expectUserError(.missingInput, "dangling.png: no such file") { try Image.read(folder.file("dangling.png")) }
    expectUserError(.inputOutput, "circle.png: cannot be opened") { try Image.read(folder.file("circle.png")) }
  }
}
