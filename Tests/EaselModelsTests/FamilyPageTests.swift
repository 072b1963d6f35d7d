import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// `Documentation/Families` leads from equations to code; everything that its tables name must exist.
@Suite struct FamilyPageTests {
  /// A row of a page's table: `| idea | functions with their files | settings |`.
  private struct Row {
    let functions: [(type: String, member: String, file: String)]
    let settings: [String]
  }

  private static func rows(_ family: String) throws -> [Row] {
    let page = try String(contentsOfFile: "\(packageFolder)/Documentation/Families/\(family).md", encoding: .utf8)
    let table = try #require(page.split(separator: "## From equation to code").last?.split(separator: "\n## ").first)
    return table.split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst().map { line in
      let cells = line.split(separator: " | ")
      let functions = cells[1].matches(of: /`(\w+)\.(\w+)`[^`(]*\((Easel[\w\/+]+\.swift)\)/)
      return Row(
        functions: functions.map { (String($0.1), String($0.2), String($0.3)) },
        settings: cells[2].matches(of: /`([a-z0-9-]+)`/).map { String($0.1) })
    }
  }

  @Test("Functions and settings of its table exist", arguments: bundledFamilies.map { $0.name })
  func tables(_ family: String) throws {
    let rows = try Self.rows(family)
    #expect(rows.flatMap(\.functions).count >= 5 && rows.contains { !$0.settings.isEmpty })
    var sources: [String: String] = [:]
    let settings = try AnyPreset.all.filter { $0.family.name == family }.flatMap { try $0.configuration().keys }
    for row in rows {
      for (type, member, file) in row.functions {
        let text = try sources[file] ?? String(contentsOfFile: "\(packageFolder)/Sources/\(file)", encoding: .utf8)
        sources[file] = text
        let words = try [
          Regex("\\b\(type)\\b"), Regex("(func|var|let|case|struct|enum|class) \(member)\\b|\\b\(member)\\("),
        ]
        let areThere = words.allSatisfy { text.firstMatch(of: $0) != nil }
        #expect(areThere, "\(family): \(type).\(member) in \(file)")
      }
      for setting in row.settings { #expect(settings.contains(setting), "\(family): \(setting)") }
    }
  }
}
